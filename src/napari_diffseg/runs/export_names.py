"""What exported files are called: by a pattern, or as a BIDS derivative."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from napari_diffseg.errors import BadRequest
from napari_diffseg.runs.result_names import channel_tails

if TYPE_CHECKING:
    from collections.abc import Sequence

DEFAULT_PATTERN: Final = "{case}_{what}"
_FIELDS: Final = ("case", "what")
_FORBIDDEN: Final = '/\\:*?"<>|'
_BIDS: Final = {
    "mask": "dseg",
    "member": "dseg",
    "mean": "probseg",
    "expected": "probseg",
    "uncertainty": "uncertainty",
}


class Style(Enum):
    """How files are named."""

    PATTERN = "pattern"
    BIDS = "bids"


@dataclass(frozen=True, slots=True)
class Names:
    """Names of one case's files, without `.nii.gz`, relative to the folder that is exported to.

    Attributes
    ----------
    case : str
        The case's name.
    labels : sequence of str
        Names of the mask channels; with several, each file says which.
    style : Style
        Which of the two ways.
    pattern : str
        For `Style.PATTERN`: a name with `{case}` and `{what}`.
    only : bool
        Whether one thing alone is written of the case: then `{case}` is enough. What goes beside it says what it is.

    Raises
    ------
    BadRequest
        If the pattern has no `{what}` where it is needed, names another field, or leaves its folder.

    References
    ----------
    BIDS 1.10, Derivatives, Imaging data types: `dseg` and `probseg`. It knows no uncertainty, so that suffix is ours.
    """

    case: str
    labels: Sequence[str]
    style: Style = Style.PATTERN
    pattern: str = DEFAULT_PATTERN
    only: bool = False

    def __post_init__(self) -> None:
        if self.style is Style.PATTERN:
            check_pattern(self.pattern, only=self.only and len(self.labels) == 1)

    def of(self, what: str, *, number: int | None = None) -> list[PurePosixPath]:
        """A name for each mask channel.

        Parameters
        ----------
        what : str
            mask, mean, uncertainty, expected or member.
        number : int, optional
            The member's, from 0.
        """
        tails = channel_tails(self.labels)
        if self.style is Style.BIDS:
            return [self._bids(what, tail, number) for tail in tails]
        count = "" if number is None else f"-{number + 1:03d}"
        return [self._by_pattern(f"{what}{tail}{count}") for tail in tails]

    @property
    def record(self) -> PurePosixPath:
        """Where `run.json` goes."""
        return self.beside("run", ".json")

    def beside(self, what: str, ending: str) -> PurePosixPath:
        """Where something goes that is about all channels, with its ending, such as `.html`."""
        if self.style is Style.PATTERN:
            more = "" if "{what}" in self.pattern else f"_{what}"
            return PurePosixPath(f"{self._by_pattern(what)}{more}{ending}")
        return self._folder / f"{self._entities}_desc-diffseg_{what}{ending}"

    def _by_pattern(self, what: str) -> PurePosixPath:
        case = "".join(c if c.isprintable() and c not in _FORBIDDEN else "_" for c in self.case)
        return PurePosixPath(self.pattern.format(case=case or "case", what=what))

    def _bids(self, what: str, tail: str, number: int | None) -> PurePosixPath:
        label = f"_label-{_alphanumeric(tail)}" if tail else ""
        desc = "diffseg" if number is None else f"diffseg{number + 1:03d}"
        desc += "Expected" if what == "expected" else ""
        return self._folder / f"{self._entities}{label}_desc-{desc}_{_BIDS[what]}"

    @property
    def _entities(self) -> str:
        """`sub-X` or `sub-X_ses-Y`: as the case's name states them, else its letters and digits as the subject."""
        found = {key: match[1] for key in ("sub", "ses") if (match := re.search(rf"{key}-([A-Za-z0-9]+)", self.case))}
        if "sub" not in found:
            return f"sub-{_alphanumeric(self.case) or 'case'}"
        return "_".join(f"{key}-{value}" for key, value in found.items())

    @property
    def _folder(self) -> PurePosixPath:
        return PurePosixPath(*self._entities.split("_"), "anat")


def check_pattern(pattern: str, *, only: bool = False) -> None:
    """Refuse a pattern that cannot name files apart, or would put them elsewhere.

    Parameters
    ----------
    pattern : str
        With `{what}`, or with `{case}` where that is enough.
    only : bool
        Whether one file alone is written of a case, so that it is.

    Raises
    ------
    BadRequest
        With what is wrong, and an example.
    """
    fields = re.findall(r"{([^{}]*)}", pattern)
    rest = re.sub(r"{[^{}]*}", "", pattern)
    enough = {"what", "case"} if only else {"what"}
    ok = (
        enough & set(fields)
        and set(fields) <= set(_FIELDS)
        and not set(rest) & set("{}" + _FORBIDDEN)
        and rest.isprintable()
    )
    if not ok or pattern.startswith("."):
        needed = "{case} or {what}, and" if only else "{what}, as a case has several files, may have {case}, and"
        raise BadRequest(
            f"The name {pattern!r} needs {needed} no folder or other field: give one such as {DEFAULT_PATTERN}."
        )


def _alphanumeric(text: str) -> str:
    return "".join(c for c in text if c.isascii() and c.isalnum())
