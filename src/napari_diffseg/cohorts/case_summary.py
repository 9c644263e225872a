"""What a table of many cases says of each: volume, lesions and Dice of the mask that its run has left."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_diffseg.ensemble.dice import dice
from napari_diffseg.ensemble.lesions import NEIGHBOURS_26
from napari_diffseg.ensemble.volumes import MM3_PER_ML
from napari_diffseg.errors import DiffsegError
from napari_diffseg.evaluation.cases.truth import read_truth
from napari_diffseg.imaging.formats.nifti import read_mask
from napari_diffseg.runs.layout import RunFiles
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
    lesions : int
        Its connected components, of any size; voxels that touch by a face, an edge or a corner are connected.
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
    lesions: int
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
    from scipy import ndimage

    record = read_record(folder)
    volumes = [read_mask(RunFiles(folder).map("mask", tail)) for tail in channel_tails(record.recipe.labels)]
    grid, mask = volumes[0], np.any([volume.data > 0 for volume in volumes], axis=0)
    _, lesions = ndimage.label(mask, structure=NEIGHBOURS_26)
    overlap, note = _overlap(mask, grid, record, truth)
    return CaseSummary(
        volume_ml=float(np.count_nonzero(mask)) * grid.voxel_mm3 / MM3_PER_ML,
        lesions=int(lesions),
        dice=overlap,
        members=len(record.members),
        seconds=record.seconds,
        note=note,
    )


def _overlap(mask: Bool, grid: Volume, record: RunRecord, truth: Sequence[Path]) -> tuple[float | None, str]:
    """Dice with the reference, or why there is none."""
    if not truth:
        return None, ""
    try:
        drawn = read_truth(truth, grid, case_id=record.case).majority
    except (DiffsegError, OSError) as err:
        return None, str(err)
    asked = np.zeros(mask.shape[record.slice_axis], np.bool_)
    asked[list(record.slices)] = True
    covered = asked.reshape([-1 if axis == record.slice_axis else 1 for axis in range(3)])
    return dice(mask, drawn & covered), ""
