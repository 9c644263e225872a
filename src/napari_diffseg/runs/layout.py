"""What the files of a run are called: in its own folder, and where they were exported to, by a pattern or as BIDS.

Names are made here and read back here, so that what one part of the program writes another finds.
"""

from __future__ import annotations

import glob
import re
import unicodedata
from dataclasses import dataclass
from enum import Enum
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

from napari_diffseg.errors import BadRequest
from napari_diffseg.imaging.names.naming import RUN_RECORD, printable
from napari_diffseg.imaging.names.pattern import Pattern
from napari_diffseg.runs.result_names import EXPORTED, LABEL_MAP, channel_tails

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

RECORD: Final = RUN_RECORD
"""The record of a run in its folder; in an export by a pattern the case's name stands before it."""
MEMBERS: Final = "members"
"""The folder of the members in that of a run."""
ENDING: Final = ".nii.gz"

DEFAULT_PATTERN: Final = "{case}_{what}"
_FIELDS: Final = ("case", "what")
_FORBIDDEN: Final = '/\\:*?"<>|'
_NUMBER: Final = Pattern(r"\d{3,6}")
_EXPORTED: Final = Pattern(
    rf"(?P<prefix>.+_)(?P<what>{'|'.join(EXPORTED)}|{LABEL_MAP}|member)(?P<tail>(?:_[^_]+?)?)(?P<number>(?:-\d+)?){re.escape(ENDING)}"
)
_CHOOSING: Final = {
    "acq": "[A-Za-z0-9]+", "ce": "[A-Za-z0-9]+", "rec": "[A-Za-z0-9]+", "run": "[0-9]+", "part": "[a-z]+",
    "space": "[A-Za-z0-9]+",
}  # fmt: skip
"""Entities besides subject and session that tell images of one session apart, in the order of names, with values."""
_ENTITIES: Final = {"sub": "[A-Za-z0-9]+", "ses": "[A-Za-z0-9]+", **_CHOOSING}
_BIDS_STEM: Final = "".join(f"(?:_{key}-{value})?" for key, value in list(_ENTITIES.items())[1:])
_BIDS_MASK: Final = Pattern(
    rf"(?P<entities>sub-[A-Za-z0-9]+{_BIDS_STEM})_(?:label-[^_]*_)?desc-diffseg_(?:mask|dseg){re.escape(ENDING)}"
)
_LABEL: Final = Pattern("_label-([^_]*)_")
_SUFFIX: Final = {"label-map": "dseg", "mask": "mask", "member": "mask", "edited": "mask", "uncertainty": "uncertainty"}
"""BIDS suffixes; other maps are probabilities, `probseg`."""
_OF_BEFORE: Final = "dseg"
"""What masks were called in exports of before: BIDS lets only a `mask` or a `probseg` say its label."""
_DIGITS: Final = 8


@dataclass(frozen=True, slots=True)
class RunFiles:
    """The files of a run: in a folder of its own, or beside those of others, each with the case's name before it.

    Maps and members are of one mask channel, which `tail` names as `channel_tails` does.

    Attributes
    ----------
    folder : Path
        Where they lie.
    prefix : str
        What all names begin with, such as `case_1_`; empty in a folder of the run's own.
    """

    folder: Path
    prefix: str = ""

    @property
    def record(self) -> Path:
        """The record."""
        return self.folder / f"{self.prefix}{RECORD}"

    @property
    def member_folder(self) -> Path:
        """Where the members lie."""
        return self.folder if self.prefix else self.folder / MEMBERS

    def map(self, what: str, tail: str = "") -> Path:
        """A map: what is one of `MAPS` of `result_names`."""
        return self.folder / f"{self.prefix}{what}{tail}{ENDING}"

    def member(self, number: int, tail: str = "") -> Path:
        """A member, counted from 0; files count from 1."""
        return self.member_folder / f"{self.prefix}member{tail}-{number + 1:03d}{ENDING}"

    def masks(self) -> dict[str, Path]:
        """Masks that are there, by the tails of their names."""
        found = sorted(self.folder.glob(f"{glob.escape(self.prefix)}mask*{ENDING}"))
        return {self.tail_of(path): path for path in found}

    def tail_of(self, mask: Path) -> str:
        """What names the channel in the name of a mask."""
        return mask.name.removeprefix(f"{self.prefix}mask").removesuffix(ENDING)

    def map_beside(self, what: str, mask: Path) -> Path:
        """Where a map is that belongs to a mask, if there is one."""
        return self.map(what, self.tail_of(mask))

    def members_beside(self, mask: Path) -> dict[int, Path]:
        """Members of a mask's channel, by their numbers from 0, increasing."""
        return self.members(self.tail_of(mask))

    def members(self, tail: str = "") -> dict[int, Path]:
        """Members of a channel that are there, by their numbers from 0, increasing."""
        begin = f"{self.prefix}member{tail}-"
        numbered = {}
        for path in self.member_folder.glob(f"{glob.escape(begin)}*{ENDING}"):
            number = path.name.removeprefix(begin).removesuffix(ENDING)
            if _NUMBER.fullmatch(number) and int(number):
                numbered[int(number) - 1] = path
        return dict(sorted(numbered.items()))

    def member_tails(self) -> list[str]:
        """The channels that any member here is of."""
        begin = f"{self.prefix}member"
        names = (path.name for path in self.member_folder.glob(f"{glob.escape(begin)}*-*{ENDING}"))
        found = (name.removeprefix(begin).removesuffix(ENDING).rpartition("-") for name in names)
        return sorted({tail for tail, _, number in found if _NUMBER.fullmatch(number)})


def whole_members(files: RunFiles, labels: Sequence[str]) -> dict[int, list[Path]]:
    """Files of each member that has one for every channel, by its number from 0, increasing."""
    by_channel = [files.members(tail) for tail in channel_tails(labels)]
    shared = set.intersection(*map(set, by_channel)) if by_channel else set()
    return {number: [paths[number] for paths in by_channel] for number in sorted(shared)}


@dataclass(frozen=True, slots=True)
class BidsRunFiles(RunFiles):
    """The files of a run that was exported as a BIDS derivative; the prefix is its entities and `_`."""

    @property
    def record(self) -> Path:
        """The record."""
        return self.folder / f"{self.prefix}desc-diffseg_{RECORD}"

    def masks(self) -> dict[str, Path]:
        """Masks that are there, by the tails that their labels make."""
        name = re.compile(
            rf"{re.escape(self.prefix)}(?:label-[^_]*_)?desc-diffseg_(?:mask|{_OF_BEFORE}){re.escape(ENDING)}"
        )
        found = sorted(path for path in self.folder.iterdir() if name.fullmatch(path.name))
        return {self.tail_of(path): path for path in found}

    def tail_of(self, mask: Path) -> str:
        """What names the channel in the name of a mask."""
        label = _LABEL.search(mask.name)
        return "" if label is None else f"_{label[1]}"

    def map_beside(self, what: str, mask: Path) -> Path:
        """Where a map is that belongs to a mask, if there is one."""
        return mask.with_name(f"{self._begin(mask)}_{_bids_end(what, None)}{ENDING}")

    def members_beside(self, mask: Path) -> dict[int, Path]:
        """Members of a mask's channel, by their numbers from 0, increasing."""
        name = re.compile(rf"{re.escape(self._begin(mask))}_desc-diffseg(\d+)_(?:mask|{_OF_BEFORE}){re.escape(ENDING)}")
        numbered = {int(m[1]) - 1: path for path in self.folder.iterdir() if (m := name.fullmatch(path.name))}
        return dict(sorted(numbered.items()))

    def _begin(self, mask: Path) -> str:
        return mask.name.rpartition("_desc-diffseg_")[0]


def find_bids_runs(folder: Path) -> dict[str, BidsRunFiles]:
    """Runs that were exported as a BIDS derivative, by their entities.

    Parameters
    ----------
    folder : Path
        The data set, a subject or session of it, or a folder of images.
    """
    anat = ("", "anat/", "ses-*/anat/", "sub-*/anat/", "sub-*/ses-*/anat/")
    found = sorted(path for place in anat for path in folder.glob(f"{place}sub-*{ENDING}"))
    matches = [(path, match["entities"]) for path in found if (match := _BIDS_MASK.fullmatch(path.name))]
    return {entities: BidsRunFiles(path.parent, f"{entities}_") for path, entities in matches}


@dataclass(frozen=True, slots=True)
class ExportedName:
    """A name that `DEFAULT_PATTERN` gave a file: what it begins with, what it is, its channel."""

    prefix: str
    what: str
    tail: str


def parse_exported(name: str) -> ExportedName | None:
    """What a file's name says, if it can be that of an export by `DEFAULT_PATTERN`."""
    match = _EXPORTED.fullmatch(name)
    return None if match is None else ExportedName(match["prefix"], match["what"], match["tail"] + match["number"])


class Style(Enum):
    """How exported files are named."""

    PATTERN = "pattern"
    BIDS = "bids"
    NNUNET = "nnunet"
    """`CASE.nii.gz`, the label map alone, and `dataset.json`."""


@dataclass(frozen=True, slots=True)
class Names:
    """Names of one case's exported files, without `.nii.gz`, relative to the folder that is exported to.

    Attributes
    ----------
    case : str
        The case's name.
    labels : sequence of str
        Names of the mask channels; with several, each file says which.
    style : Style
        Which of the ways; with `Style.NNUNET` there is the label map alone.
    pattern : str
        For `Style.PATTERN`: a name with `{case}` and `{what}`.
    only : bool
        Whether one file alone is written of the case: then `{case}` is enough. What goes beside it says what it is.
    sources : sequence of str
        Names of the images' files; for `Style.BIDS`, entities that all of them share stay.

    Raises
    ------
    BadRequest
        If the pattern has no `{what}` where it is needed, names another field, or leaves its folder.

    References
    ----------
    BIDS 1.10, Derivatives, Imaging data types: `mask` and `probseg`. It knows no uncertainty, so that suffix is ours.
    """

    case: str
    labels: Sequence[str]
    style: Style = Style.PATTERN
    pattern: str = DEFAULT_PATTERN
    only: bool = False
    sources: Sequence[str] = ()

    def __post_init__(self) -> None:
        if self.style is Style.PATTERN:
            check_pattern(self.pattern, only=self.only)

    def of(self, what: str, *, number: int | None = None) -> list[PurePosixPath]:
        """A name for each mask channel, or one for the label map.

        Parameters
        ----------
        what : str
            One of `EXPORTED`, member, or `LABEL_MAP`.
        number : int, optional
            The member's, from 0.
        """
        if what == LABEL_MAP:
            return [self.label_map]
        if self.style is Style.BIDS:
            labels = [f"_label-{label}" if label else "" for label in self._bids_labels]
            return [self._folder / f"{self._entities}{label}_{_bids_end(what, number)}" for label in labels]
        count = "" if number is None else f"-{number + 1:03d}"
        return [self._by_pattern(f"{what}{tail}{count}") for tail in channel_tails(self.labels)]

    @property
    def label_map(self) -> PurePosixPath:
        """Where all mask channels go in one."""
        if self.style is Style.BIDS:
            return self._folder / f"{self._entities}_{_bids_end(LABEL_MAP, None)}"
        return PurePosixPath(_plain(self.case)) if self.style is Style.NNUNET else self._by_pattern(LABEL_MAP)

    @property
    def record(self) -> PurePosixPath:
        """Where the record goes."""
        what, _, ending = RECORD.partition(".")
        return self.beside(what, f".{ending}")

    @property
    def case_alone(self) -> PurePosixPath:
        """The case's name and nothing else, where another program asks for that; without an ending."""
        return PurePosixPath(_plain(self.case))

    def beside(self, what: str, ending: str) -> PurePosixPath:
        """Where something goes that is about all channels, with its ending, such as `.html`."""
        if self.style is Style.NNUNET:
            return PurePosixPath(f"{_plain(self.case)}_{what}{ending}")
        if self.style is Style.PATTERN:
            more = "" if "{what}" in self.pattern else f"_{what}"
            return PurePosixPath(f"{self._by_pattern(what)}{more}{ending}")
        return self._folder / f"{self._entities}_desc-diffseg_{what}{ending}"

    def _by_pattern(self, what: str) -> PurePosixPath:
        return PurePosixPath(self.pattern.format(case=_plain(self.case), what=what))

    @property
    def _bids_labels(self) -> list[str]:
        """What `label` is for each mask channel: nothing for a single one; never the same for two."""
        tails = channel_tails(self.labels)
        plain = [bids_word(tail) for tail in tails]
        return (
            [word if plain.count(word) == 1 else f"{word}{n}" for n, word in enumerate(plain, 1)] if tails[1:] else [""]
        )

    @property
    def _entities(self) -> str:
        return bids_entities(self.case, self.sources)

    @property
    def _folder(self) -> PurePosixPath:
        return PurePosixPath(*re.findall("(?:sub|ses)-[^_]+", self._entities), "anat")


def _plain(case: str) -> str:
    """A case's name as part of a file's."""
    return printable("".join(c if c.isprintable() and c not in _FORBIDDEN else "_" for c in case))


def bids_entities(case: str, sources: Sequence[str] = ()) -> str:
    """The entities with which BIDS names of a case begin, such as `sub-07_ses-pre_run-2`.

    Subject and session are those of the case's name; without a subject in it, its letters and digits are one. What
    tells images of one session apart (acq, ce, rec, run, part, space) is that of the name, or what all sources share.
    """
    found = _entities_in(case)
    if "sub" not in found:
        return f"sub-{bids_word(case) or 'case'}"
    shared = _shared([_entities_in(source) for source in sources])
    if all(shared.get(key) == found.get(key) for key in ("sub", "ses")):
        found = {**{key: shared[key] for key in _CHOOSING if key in shared}, **found}
    return "_".join(f"{key}-{found[key]}" for key in _ENTITIES if key in found)


def _entities_in(name: str) -> dict[str, str]:
    matches = {key: re.search(rf"(?<![A-Za-z0-9]){key}-({value})(?![^_.])", name) for key, value in _ENTITIES.items()}
    return {key: match[1] for key, match in matches.items() if match is not None}


def _shared(each: Sequence[Mapping[str, str]]) -> dict[str, str]:
    first, *others = each or [{}]
    return {key: value for key, value in first.items() if all(other.get(key) == value for other in others)}


def bids_word(text: str) -> str:
    """Letters and digits that BIDS allows; of other scripts, a digest keeps what they said apart.

    Of `Jos\u00e9` it is `Jose` and eight digits; of two names in Chinese, `x` and eight digits that are not the same.
    """
    plain = "".join(c for c in unicodedata.normalize("NFKD", text) if c.isascii() and c.isalnum())
    if all(c.isascii() or not c.isalnum() for c in text):
        return plain
    import hashlib  # few names need it, and napari reads this module for any file

    return f"{plain or 'x'}{hashlib.sha256(unicodedata.normalize('NFC', text).encode()).hexdigest()[:_DIGITS]}"


def _bids_end(what: str, number: int | None) -> str:
    desc = "diffseg" if number is None else f"diffseg{number + 1:03d}"
    if what == LABEL_MAP:  # `diffseg_dseg` were masks, see `_OF_BEFORE`
        desc += "Labels"
    else:
        desc += "" if what in ("mask", "mean", "uncertainty", "member") else what.capitalize()
    return f"desc-{desc}_{_SUFFIX.get(what, 'probseg')}"


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
