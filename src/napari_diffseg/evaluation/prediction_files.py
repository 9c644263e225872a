"""Which files are predictions: a folder a case, as `predict` leaves them, or masks side by side in one folder."""

from __future__ import annotations

import glob
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_diffseg.errors import BadCase
from napari_diffseg.imaging.naming import REFERENCE, case_stem, is_image_name, modality_of, shown_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_ENDING = ".nii.gz"
_EXPORTED = re.compile(
    r"(?P<prefix>.+_)(?P<what>mask|mean|uncertainty|expected|member)(?P<tail>(?:_[^_]+)?(?:-\d+)?)\.nii\.gz"
)


@dataclass(frozen=True, slots=True)
class PredictionFiles:
    """One case's mask, and what lies beside it.

    Attributes
    ----------
    folder : Path
        Where they lie.
    prefix : str
        What all their names begin with, as `export` writes them; nothing in a folder of the case's own.
    alone : Path or None
        A mask under any name, to which nothing belongs.
    """

    folder: Path
    prefix: str = ""
    alone: Path | None = None

    @property
    def is_flat(self) -> bool:
        """Whether other cases may lie beside it."""
        return bool(self.prefix) or self.alone is not None

    def mask(self, case_id: str, channel: str | None) -> Path:
        """The one to measure; `channel` as it stands in the file's name.

        Raises
        ------
        BadCase
            If there is none, or not this one, or there are several and none is named.
        """
        there = self._masks()
        if channel is not None:
            for path in there:
                if self._tail(path) == f"_{channel}":
                    return path
        if not there:
            raise BadCase(f"Case {case_id}: its folder has no mask.nii.gz: finish the run with predict --resume.")
        # A run writes a mean beside each of its masks; without one, somebody put it there, such as a correction.
        written = [path for path in there if self.map("mean", path).exists()]
        candidates = [path for path in there if not self._tail(path)] or written or there
        if channel is None and len(candidates) == 1:
            return candidates[0]
        names = ", ".join(self._tail(path).removeprefix("_") for path in there if self._tail(path))
        if channel is None:
            raise BadCase(f"Case {case_id}: its masks are of {names}: name the one to evaluate with --channel.")
        if not names:
            raise BadCase(f"Case {case_id}: it has one mask and no channel {channel}: leave out --channel.")
        raise BadCase(f"Case {case_id}: it has no channel {channel}, but {names}: correct --channel, or leave it out.")

    def map(self, what: str, mask: Path) -> Path:
        """Where the mean, uncertainty or expected mask is that belongs to a mask, if there is one."""
        return self.folder / f"{self.prefix}{what}{self._tail(mask)}{_ENDING}"

    def members(self, mask: Path) -> list[Path]:
        """Members by number: of member-001 and member-1000 the first is first."""
        if self.alone is not None:
            return []
        place = self.folder if self.prefix else self.folder / "members"
        paths = place.glob(f"{glob.escape(f'{self.prefix}member{self._tail(mask)}')}-*{_ENDING}")
        numbered = [(path.name.removesuffix(_ENDING).rpartition("-")[2], path) for path in paths]
        return [p for _, p in sorted((int(number), p) for number, p in numbered if number.isdecimal())]

    def record(self) -> dict[str, Any]:
        """What run.json says; empty where there is none that can be read."""
        if self.alone is not None:
            return {}
        try:
            record = json.loads((self.folder / f"{self.prefix}run.json").read_text("utf-8"))
        except (OSError, ValueError):
            return {}
        return record if isinstance(record, dict) else {}

    def _masks(self) -> list[Path]:
        if self.alone is not None:
            return [self.alone]
        return sorted(self.folder.glob(f"{glob.escape(self.prefix)}mask*{_ENDING}"))

    def _tail(self, mask: Path) -> str:
        """What names the channel in the names of a mask and of all that belongs to it."""
        return "" if self.alone is not None else mask.name.removeprefix(f"{self.prefix}mask").removesuffix(_ENDING)


def find_predictions(folder: Path) -> dict[str, PredictionFiles]:
    """The cases in a folder, by name.

    They are its subfolders that `predict` wrote; or the folder itself, if it is one case; or else the masks in it, one
    a case: `<case>.nii.gz` as other programs leave them, `<case>_mask.nii.gz` with its maps and members as `export`
    does, or by any other name under which truth is found.

    Raises
    ------
    BadCase
        If the folder cannot be read or holds no case, or several masks of one.
    """
    try:
        inside = sorted(folder.iterdir())
    except OSError as err:
        raise BadCase(f"Folder {shown_name(folder)} cannot be read: {err.strerror}: choose another.") from err
    if _is_case(folder):
        return {folder.resolve().name: PredictionFiles(folder)}
    found = {path.name: PredictionFiles(path) for path in inside if path.is_dir() and _is_case(path)}
    found = found or _flat_cases(folder, [p for p in inside if is_image_name(p.name) and not p.is_dir()])
    if not found:
        raise BadCase(
            f"Folder {shown_name(folder)} holds no predictions (CASE/mask.nii.gz or CASE.nii.gz): "
            "give the folder that napari-diffseg predict wrote with --out, or one of masks."
        )
    return found


def _is_case(folder: Path) -> bool:
    return (folder / "run.json").is_file() or any(folder.glob(f"mask*{_ENDING}"))


def _flat_cases(folder: Path, images: Sequence[Path]) -> dict[str, PredictionFiles]:
    """Masks that lie side by side; an export of several channels is one case."""
    found: dict[str, PredictionFiles] = {}
    first: dict[str, Path] = {}
    for path, files in _flat_masks(folder, images):
        case_id = case_stem(files.prefix or path.name) or path.name
        if found.setdefault(case_id, files) != files:
            both = f"{shown_name(first[case_id])} and {shown_name(path)}"
            raise BadCase(f"Case {case_id}: {both} could each be its mask: leave one.")
        first.setdefault(case_id, path)
    return found


def _flat_masks(folder: Path, images: Sequence[Path]) -> Iterator[tuple[Path, PredictionFiles]]:
    names = {path.name for path in images}
    for path in images:
        export = _EXPORTED.fullmatch(path.name)
        if export is not None and export["what"] != "mask":
            continue
        if export is not None and _is_whole_name(export, folder, names):
            yield path, PredictionFiles(folder, prefix=export["prefix"])
        elif modality_of(path.name) in (None, REFERENCE):
            yield path, PredictionFiles(folder, alone=path)


def _is_whole_name(export: re.Match[str], folder: Path, names: set[str]) -> bool:
    """Whether what follows `mask` is a channel, as in case_mask_core, and no number of a case, as in tumour_mask_01."""
    prefix, tail = export["prefix"], export["tail"]
    return not tail or f"{prefix}mean{tail}{_ENDING}" in names or (folder / f"{prefix}run.json").is_file()
