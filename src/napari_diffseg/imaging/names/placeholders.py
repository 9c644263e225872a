"""Files that stand for an image whose content is elsewhere, and other things that are taken for images."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final

from napari_diffseg.imaging.names.dicom_files import is_dicom

if TYPE_CHECKING:
    from pathlib import Path

_ANNEX_LINK: Final = re.compile(r"(?:^|[/\\])(?:\.git[/\\])?annex[/\\]objects[/\\]")
_PEEKED: Final = 132


def what_it_is(path: Path) -> str | None:
    """What a file is that is no image: a pointer of git-annex or Git LFS, a DICOM file; None where nothing tells.

    Parameters
    ----------
    path : Path
        Of anything; what cannot be opened is not told.
    """
    if (link := annex_link(path)) is not None:
        return link
    try:
        if not path.is_file():
            return None
        with path.open("rb") as file:
            return what_begins_so(file.read(_PEEKED))
    except OSError:
        return None


def annex_link(path: Path) -> str | None:
    """That a link leads into git-annex's store, and nothing is there: the content was not fetched."""
    try:
        if not path.is_symlink() or path.exists() or not _ANNEX_LINK.search(os.readlink(path)):
            return None
    except OSError:
        return None
    return "a link of git-annex, whose content was not fetched"


def what_begins_so(start: bytes) -> str | None:
    """What a file is that begins with these bytes; 132 are enough.

    Parameters
    ----------
    start : bytes
        The first of the file.

    Returns
    -------
    str or None
        In words that follow "is"; None where nothing tells.
    """
    if start.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer, whose content was not fetched"
    if _ANNEX_LINK.search(start[:80].decode("latin-1")):
        return "a pointer of git-annex, whose content was not fetched"
    return "a DICOM file" if is_dicom(start) else None


def how_to_fetch(what: str) -> str:
    """What to do about a placeholder or a file of another kind, as it is named here."""
    if "git-annex" in what:
        return "fetch it with `datalad get` or `git annex get`"
    if "LFS" in what:
        return "fetch it with `git lfs pull`"
    return "convert it to NIfTI, such as with dcm2niix"
