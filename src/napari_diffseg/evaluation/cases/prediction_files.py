"""The files of one case's prediction: by names of our own, under any other, or as a BIDS derivative."""

from __future__ import annotations

import glob
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_diffseg.errors import BadCase

if TYPE_CHECKING:
    from pathlib import Path

_ENDING = ".nii.gz"
_LABEL = re.compile("_label-([^_]*)_")


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
        return {} if self.alone is not None else _read_record(self.folder / f"{self.prefix}run.json")

    def _masks(self) -> list[Path]:
        if self.alone is not None:
            return [self.alone]
        return sorted(self.folder.glob(f"{glob.escape(self.prefix)}mask*{_ENDING}"))

    def _tail(self, mask: Path) -> str:
        """What names the channel in the names of a mask and of all that belongs to it."""
        return "" if self.alone is not None else mask.name.removeprefix(f"{self.prefix}mask").removesuffix(_ENDING)


@dataclass(frozen=True, slots=True)
class BidsFiles(PredictionFiles):
    """A case that `export` wrote as a BIDS derivative: an `anat` folder, and names that begin with its entities."""

    def mask(self, case_id: str, channel: str | None) -> Path:
        """The one to measure; of `channel`, the letters and digits stand in the file's name."""
        told = None if channel is None else "".join(c for c in channel if c.isascii() and c.isalnum())
        return PredictionFiles.mask(self, case_id, told)

    def map(self, what: str, mask: Path) -> Path:
        """Where the mean, uncertainty or expected mask is that belongs to a mask, if there is one."""
        desc = "diffsegExpected" if what == "expected" else "diffseg"
        suffix = "uncertainty" if what == "uncertainty" else "probseg"
        return mask.with_name(f"{self._begin(mask)}{desc}_{suffix}{_ENDING}")

    def members(self, mask: Path) -> list[Path]:
        """Members by number."""
        name = re.compile(rf"{re.escape(self._begin(mask))}diffseg(\d+)_dseg{re.escape(_ENDING)}")
        numbered = [(int(found[1]), path) for path in self.folder.iterdir() if (found := name.fullmatch(path.name))]
        return [path for _, path in sorted(numbered)]

    def record(self) -> dict[str, Any]:
        """What run.json says; empty where there is none that can be read."""
        return _read_record(self.folder / f"{self.prefix}desc-diffseg_run.json")

    def _masks(self) -> list[Path]:
        name = re.compile(rf"{re.escape(self.prefix)}(?:label-[^_]*_)?desc-diffseg_dseg{re.escape(_ENDING)}")
        return sorted(path for path in self.folder.iterdir() if name.fullmatch(path.name))

    def _tail(self, mask: Path) -> str:
        found = _LABEL.search(mask.name)
        return "" if found is None else f"_{found[1]}"

    def _begin(self, mask: Path) -> str:
        return mask.name.removesuffix(f"diffseg_dseg{_ENDING}")


def _read_record(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}
