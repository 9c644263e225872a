"""Masks of a run that somebody has corrected by hand: kept beside what was sampled, never instead of it.

```
FOLDER/edited/mask-001.nii.gz  mask-001.json  base-001.nii.gz ...
```

The mask holds label numbers: channel c of the run is c + 1, of nested regions that of the innermost one. Its record
says from which mask the correction began, with what it was made, and when; that mask is the base.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, ValidationError

from napari_diffseg.errors import BadImage
from napari_diffseg.imaging.atomic import make_folder, write_json
from napari_diffseg.imaging.formats.nifti import read_mask
from napari_diffseg.imaging.geometry.regrid import NEAREST, regrid
from napari_diffseg.imaging.save import write_nifti
from napari_diffseg.regions import masks_of_channels
from napari_diffseg.runs.layout import ENDING, Style

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from napari_diffseg.imaging.volume import Volume
    from napari_diffseg.runs.export import ExportChoice
    from napari_diffseg.runs.stored_run import StoredRun

logger = logging.getLogger(__name__)

FOLDER: Final = "edited"
_LARGEST: Final = 100_000


class EditRecord(BaseModel):
    """What is known of a correction.

    Attributes
    ----------
    began_from : str
        The mask that was corrected, such as `majority of the members (5 members)`.
    made_with : str
        The program in which it was painted, with its version.
    changed : str
        When it was changed last, in UTC, as ISO 8601.
    voxels_added, voxels_removed : int
        How many voxels it holds that the mask it began from does not, and the other way round.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    began_from: str = ""
    made_with: str = ""
    changed: str = ""
    voxels_added: int = 0
    voxels_removed: int = 0

    @property
    def words(self) -> str:
        """The correction in a sentence's part, such as `edited by hand, from majority of the members (5 members)`."""
        return f"edited by hand, from {self.began_from}" if self.began_from else "edited by hand"


@dataclass(frozen=True, eq=False)
class EditedMask:
    """A correction of a run's mask.

    Attributes
    ----------
    number : int
        Its place among the run's corrections, from 1.
    mask, base : ndarray, (X, Y, Z), uint8
        Label numbers of what it is now, and of the mask that it began from.
    record : EditRecord
        What is known of it.
    """

    number: int
    mask: npt.NDArray[np.uint8]
    base: npt.NDArray[np.uint8]
    record: EditRecord


def write_edited(folder: Path, edited: EditedMask, grid: Volume) -> None:
    """Keep a correction in a run's folder, instead of what it was before.

    Raises
    ------
    OutputFailed
        If it cannot be written; what was there before is intact.
    """
    place = folder / FOLDER
    make_folder(place)
    record = {"manual": True, **edited.record.model_dump()}
    write_nifti(place / f"base-{edited.number:03d}{ENDING}", edited.base, grid, overwrite=True)
    write_json(place / f"mask-{edited.number:03d}.json", record, overwrite=True)
    write_nifti(place / f"mask-{edited.number:03d}{ENDING}", edited.mask, grid, overwrite=True)  # what is looked for


def read_edited(folder: Path, shape: tuple[int, ...]) -> list[EditedMask]:
    """The corrections in a run's folder, oldest first; one that is damaged, or of another shape, is left out."""
    found = []
    for path in sorted((folder / FOLDER).glob(f"mask-*{ENDING}")):
        number = path.name.removeprefix("mask-").removesuffix(ENDING)
        try:
            mask, base = (read_mask(path.with_name(f"{name}-{number}{ENDING}")).data for name in ("mask", "base"))
        except BadImage as err:
            logger.warning("An edited mask is left out: %s", err)
            continue
        if number.isdigit() and mask.shape == base.shape == shape:
            record = _record(path.with_name(f"mask-{number}.json"))
            found.append(EditedMask(int(number), np.asarray(mask, np.uint8), np.asarray(base, np.uint8), record))
    return found


def has_edited(folder: Path) -> bool:
    """Whether a run's folder holds a correction."""
    return any((folder / FOLDER).glob(f"mask-*{ENDING}"))


def export_edited(run: StoredRun, folder: Path, choice: ExportChoice, edited: EditedMask) -> Iterator[Path]:
    """Write a correction as `export_run` writes masks, a file for each mask channel, and its record beside it.

    Raises
    ------
    OutputExists
        If a file is there already and overwriting was not asked for.
    OutputFailed
        If a place is full or cannot be written to.
    """
    like = choice.like or run.grid
    masks = masks_of_channels(edited.mask, run.record.recipe.regions)
    for stem, marked in zip(_stems(run, choice), masks, strict=True):
        path = folder / f"{stem}{ENDING}"
        make_folder(path.parent)
        mask = np.asarray(marked, np.uint8)
        write_nifti(path, regrid(mask, run.grid, like, order=NEAREST), like, overwrite=choice.overwrite)
        sidecar = {
            "Description": f"Mask, {edited.record.words}",
            "Manual": True,
            "Sources": [name for name in run.record.files.values() if name],
            **edited.record.model_dump(),
        }
        write_json(folder / f"{stem}.json", sidecar, overwrite=choice.overwrite)
        yield path


def edited_paths(run: StoredRun, folder: Path, choice: ExportChoice) -> list[Path]:
    """Every file that `export_edited` would write."""
    return [folder / f"{stem}{ending}" for stem in _stems(run, choice) for ending in (ENDING, ".json")]


def _stems(run: StoredRun, choice: ExportChoice) -> list[str]:
    names = choice.names(run.record)
    if choice.style is Style.PATTERN and "{what}" not in choice.pattern:
        return [str(names.beside("edited", ""))]
    return [str(name) for name in names.of("edited")]


def _record(path: Path) -> EditRecord:
    try:
        with path.open("rb") as file:
            return EditRecord.model_validate(json.loads(file.read(_LARGEST)))
    except (OSError, ValueError, RecursionError, ValidationError) as err:
        logger.info("Nothing is known of %s: %s", path, err)
        return EditRecord()
