"""The entities of names in the Brain Imaging Data Structure. Standard library only, so that it imports in milliseconds.

PyBIDS (0.22) was weighed: it brings pandas and SQLAlchemy, takes 1.7 s to import, and refuses a
tree without `dataset_description.json`, as most derivatives and parts of data sets are. What is needed here is the
grammar of a name: `key-value` joined by `_`, and a suffix.
"""

from __future__ import annotations

import re
from typing import Final

from napari_diffseg.imaging.names.pattern import Pattern

_CHOOSING: Final = (
    "acq|ce|trc|rec|dir|run|mod|echo|flip|inv|mt|part|proc|hemi|space|split|recording|chunk|res|den|label|desc|from|to"
    "|mode|atlas|scale|task|sample|stain|nuc|voi"
)
_ENTITY: Final = Pattern(rf"(?:^|(?<=_))(?P<key>{_CHOOSING})-(?P<value>[A-Za-z0-9+]+)(?:_|$)", re.IGNORECASE)
_SESSION: Final = Pattern(r"sub-[a-z0-9]+(?:_ses-[a-z0-9]+)?(?![a-z0-9])", re.IGNORECASE)


def session_of(stem: str) -> str | None:
    """`sub-01` or `sub-01_ses-2`, where a name begins so: in BIDS the case."""
    found = _SESSION.match(stem)
    return None if found is None else found[0]


def entities_of(stem: str) -> dict[str, str]:
    """The entities that choose among the images of a session (acq, ce, rec, run, part, space ...), as they stand there.

    Parameters
    ----------
    stem : str
        A file's name without its suffix.

    Returns
    -------
    dict of str to str
        By key in small letters.
    """
    return {found["key"].lower(): found["value"] for found in _ENTITY.finditer(stem)}


def without_entities(stem: str) -> str:
    """A name without these entities: of `sub-01_acq-a_run-1_T1w` the `sub-01_T1w`."""
    return _ENTITY.sub("", stem).removesuffix("_") if _ENTITY.search(stem) else stem
