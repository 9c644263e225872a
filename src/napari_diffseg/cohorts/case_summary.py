"""What a table of many cases says of each: volume, lesions and Dice of the mask that its run has left."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_diffseg.ensemble.dice import dice
from napari_diffseg.ensemble.lesions import default_smallest_ml, find_lesions, listed
from napari_diffseg.ensemble.volumes import MM3_PER_ML
from napari_diffseg.ensemble.whole_members import WholeMembers
from napari_diffseg.errors import DiffsegError
from napari_diffseg.evaluation.cases.regions import labels_of, truth_of_one
from napari_diffseg.evaluation.cases.truth import read_truth
from napari_diffseg.imaging.formats.nifti import read_mask
from napari_diffseg.runs.layout import RunFiles, whole_members
from napari_diffseg.runs.record import read_record
from napari_diffseg.runs.result_names import channel_tails

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt

    from napari_diffseg.imaging.volume import Volume
    from napari_diffseg.runs.record import RunRecord

    Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class CaseSummary:
    """A mask in figures; all labels together count as lesion.

    Attributes
    ----------
    volume_ml : float
        Its volume.
    lesions : int or None
        Connected components of any member, but for the smallest, as the panel and a run's page count them; None where
        the members are not there.
    dice : float or None
        With the reference, on the slices that were asked for; None where there is none that can be used.
    members : int
        That the mask is made of.
    seconds : float
        That sampling took, in all.
    note : str
        Why a reference cannot be used, as a sentence.
    """

    volume_ml: float
    lesions: int | None
    dice: float | None
    members: int
    seconds: float
    note: str = ""


def summarise_case(folder: Path, *, truth: Sequence[Path] = ()) -> CaseSummary:
    """Measure the mask of a run.

    Parameters
    ----------
    folder : Path
        Of the run.
    truth : sequence of Path
        Masks that people drew of the case; of several readers' the majority counts.

    Raises
    ------
    BadCase, BadImage
        If the run has no mask that can be read.
    """
    record = read_record(folder)
    volumes = [read_mask(RunFiles(folder).map("mask", tail)) for tail in channel_tails(record.recipe.labels)]
    grid, mask = volumes[0], np.any([volume.data > 0 for volume in volumes], axis=0)
    overlap, note = _overlap(mask, grid, record, truth)
    return CaseSummary(
        volume_ml=float(np.count_nonzero(mask)) * grid.voxel_mm3 / MM3_PER_ML,
        lesions=_count_lesions(folder, record, grid),
        dice=overlap,
        members=len(record.members),
        seconds=record.seconds,
        note=note,
    )


def _count_lesions(folder: Path, record: RunRecord, grid: Volume) -> int | None:
    """How many lesions are listed of the members; they are read one by one, as hundreds would not fit as arrays."""
    axis = record.slice_axis
    votes, bits = np.zeros(grid.shape, np.int32), {}
    for number, paths in whole_members(RunFiles(folder), record.recipe.labels).items():
        lesion = np.any([read_mask(path).data > 0 for path in paths], axis=0)
        votes += lesion
        planes = np.moveaxis(lesion, axis, 0)
        bits[number] = np.packbits(planes.reshape(1, len(planes), -1), axis=-1)
    if not bits:
        return None
    members = WholeMembers(grid.shape, axis, tuple(range(grid.shape[axis])), bits)
    voxel_mm3 = grid.voxel_mm3
    return len(listed(find_lesions(members, votes, voxel_mm3=voxel_mm3), default_smallest_ml(voxel_mm3)))


def _labels_of(record: RunRecord, truth: Sequence[Path]) -> tuple[int, ...] | None:
    """Which labels of the truth count; all above 0 but for a run of one part of a tumour, such as tumour core."""
    regions = record.recipe.regions
    return (truth_of_one(regions[0], labels_of(truth)).values or None) if len(regions) == 1 else None


def _overlap(mask: Bool, grid: Volume, record: RunRecord, truth: Sequence[Path]) -> tuple[float | None, str]:
    """Dice with the reference, or why there is none."""
    if not truth:
        return None, ""
    try:
        drawn = read_truth(truth, grid, case_id=record.case, labels=_labels_of(record, truth)).majority
    except (DiffsegError, OSError) as err:
        return None, str(err)
    asked = np.zeros(mask.shape[record.slice_axis], np.bool_)
    asked[list(record.slices)] = True
    covered = asked.reshape([-1 if axis == record.slice_axis else 1 for axis in range(3)])
    return dice(mask, drawn & covered), ""
