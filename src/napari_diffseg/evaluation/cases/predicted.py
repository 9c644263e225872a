"""A case's mask, with the maps and members that lie beside it, read back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_diffseg.errors import BadCase, BadImage, GridMismatch
from napari_diffseg.evaluation.cases.coverage import Coverage, coverage_of_masks, coverage_of_run
from napari_diffseg.evaluation.cases.labels import refuse_negative_labels
from napari_diffseg.imaging.formats.nifti import read_mask, read_volume
from napari_diffseg.imaging.names.naming import shown_name
from napari_diffseg.imaging.volume import describe_grid, same_grid

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from napari_diffseg.evaluation.cases.prediction_files import PredictionFiles
    from napari_diffseg.imaging.volume import Volume
    from napari_diffseg.runs.record import RunRecord

Bool = npt.NDArray[np.bool_]
Float = npt.NDArray[np.float32]

_MAPS = ("mean", "uncertainty", "probability", "expected")
_EARLIER = (
    "an earlier version made it: its file called mean holds the smoothed probability; mean and uncertainty are taken "
    "of its members"
)


@dataclass(frozen=True, eq=False)
class Predicted:
    """One case's masks and maps, all (X, Y, Z) in the source's voxel order.

    Attributes
    ----------
    case_id : str
        Its name.
    grid : Volume
        The mask as it was read; says where the voxels lie.
    mask : ndarray, (X, Y, Z), bool
        The consensus.
    mean, uncertainty : ndarray, (X, Y, Z), float32, or None
        Share of the members that see lesion, and their variance; None where there is no such file.
    probability : ndarray, (X, Y, Z), float32, or None
        The smoothed probability; None where there is no such file.
    expected : ndarray, (X, Y, Z), float32, or None
        The one-step estimate; None where there is no such file.
    members : ndarray, (K, X, Y, Z), bool
        In the order of their numbers; K may be 0.
    member_count : int
        How many members the maps are made of; 0 where it is not known.
    slice_axis : int
        The axis along which slices are counted.
    slices : tuple of int
        Indices along it that the run covered; elsewhere nothing was predicted, and nothing is measured.
    notes : tuple of str
        What a reader of the report should know.
    sampler : str
        As the run's record states it; empty where it does not.
    timesteps : int or None
        Denoising steps of each member, likewise.
    """

    case_id: str
    grid: Volume
    mask: Bool
    mean: Float | None
    uncertainty: Float | None
    probability: Float | None
    expected: Float | None
    members: Bool
    member_count: int
    slice_axis: int
    slices: tuple[int, ...]
    notes: tuple[str, ...]
    sampler: str
    timesteps: int | None

    @property
    def stated(self) -> Float | None:
        """The probability that is held against the truth: the smoothed one where there is one, else the mean."""
        return self.mean if self.probability is None else self.probability

    @property
    def made_by(self) -> str:
        """The rule that made the mask, as the file's own header says; empty where it does not."""
        return self.grid.description.removeprefix("mask: ") if self.grid.description.startswith("mask: ") else ""

    def covered(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """An array (..., X, Y, Z) on the slices that the run covered."""
        if len(self.slices) == self.grid.shape[self.slice_axis]:
            return array
        return np.take(array, self.slices, axis=array.ndim - 3 + self.slice_axis)


def read_prediction(
    files: PredictionFiles, *, case_id: str, channel: str | None = None, labels: Iterable[int] | None = None
) -> Predicted:
    """Read one case.

    Parameters
    ----------
    files : PredictionFiles
        Its mask and, where there are, its maps, members and record.
    case_id : str
        Its name in the report.
    channel : str, optional
        Which of several masks, as it stands in the file's name: `tumour-core` for mask_tumour-core.nii.gz. Without
        it, mask.nii.gz is the run's, whatever a person put beside it; so is the one mask that has a mean.
    labels : iterable of int, optional
        Labels of the mask that count as lesion; all above 0 by default.

    Returns
    -------
    Predicted

    Raises
    ------
    BadCase
        If there is no mask, or several and no channel is named, or it has negative labels, or the slices that its run
        covered cannot be told.
    BadImage
        If a file is damaged.
    GridMismatch
        If the files of the case do not share one grid.
    """
    path = files.mask(case_id, channel)
    grid = read_mask(path)
    refuse_negative_labels(grid, case_id=case_id)
    mask = np.asarray(grid.data > 0 if labels is None else np.isin(grid.data, list(labels)))
    read = [_on_grid(read_mask(p), grid, case_id).data > 0 for p in files.members(path)]
    members = np.stack(read) if read else np.zeros((0, *grid.shape), np.bool_)
    record, damage = _record_of(files)
    maps = {what: _read_map(files.map(what, path), grid, case_id) for what in _MAPS}
    maps, renamed = _as_meant(maps, record, members)
    mean = _data(maps["mean"])
    covered = _coverage(files, record, seen=_seen(mask, mean, members), case_id=case_id)
    is_running = record is not None and record.status == "running"
    unfinished = ("the run was not finished: these are the members it had",) if is_running else ()
    return Predicted(
        case_id=case_id,
        grid=grid,
        mask=mask,
        mean=mean,
        uncertainty=_data(maps["uncertainty"]),
        probability=_data(maps["probability"]),
        expected=_data(maps["expected"]),
        members=members,
        member_count=len(members) or (0 if record is None else len(record.members)),
        slice_axis=covered.axis,
        slices=covered.slices,
        notes=(*damage, *covered.notes, *unfinished, *renamed),
        sampler="" if record is None else record.sampler,
        timesteps=None if record is None else record.timesteps,
    )


def _record_of(files: PredictionFiles) -> tuple[RunRecord | None, tuple[str, ...]]:
    """What the run says of itself, and what to note where that cannot be read: voxels are measured all the same."""
    try:
        return files.record(), ()
    except BadCase as err:
        return None, (f"its slices and settings are not known: {err}",)


def _as_meant(
    maps: dict[str, Volume | None], record: RunRecord | None, members: Bool
) -> tuple[dict[str, Volume | None], tuple[str, ...]]:
    """The maps by what they are, and a note where that is not what they are called.

    Runs of before called the smoothed probability their mean, and have neither a rule in their record nor a description
    in their files' headers.
    """
    mean = maps["mean"]
    if mean is None or mean.description or record is None or not record.has_smoothed_mean:
        return maps, ()
    count = len(members)
    own = members.mean(axis=0, dtype=np.float64).astype(np.float32) if count else None
    variance = members.var(axis=0, ddof=1, dtype=np.float64).astype(np.float32) if count > 1 else None
    known = {
        "mean": None if own is None else replace(mean, data=own),
        "uncertainty": None if variance is None else replace(mean, data=variance),
        "probability": mean,
    }
    return maps | known, (_EARLIER,)


def _seen(mask: Bool, mean: Float | None, members: Bool) -> Bool:
    """Where anything says lesion."""
    seen = mask | members.any(axis=0)
    return seen if mean is None else np.asarray(seen | (mean > 0))


def _coverage(files: PredictionFiles, record: RunRecord | None, *, seen: Bool, case_id: str) -> Coverage:
    if files.is_flat:
        return coverage_of_masks(record, seen.shape, seen=seen, case_id=case_id)
    return coverage_of_run(record, seen.shape)


def _read_map(path: Path | None, grid: Volume, case_id: str) -> Volume | None:
    if path is None or not path.exists():
        return None
    try:
        volume = read_volume(path)
    except BadImage:
        # A map of one value is no image, but it is a map: nobody sees lesion anywhere.
        volume = read_mask(path)
    return _on_grid(volume, grid, case_id)


def _data(volume: Volume | None) -> Float | None:
    return None if volume is None else volume.data.astype(np.float32)


def _on_grid(volume: Volume, grid: Volume, case_id: str) -> Volume:
    if not same_grid(volume, grid):
        raise GridMismatch(
            f"Case {case_id}: {shown_name(volume.path or 'a map')} is {describe_grid(volume)}, but its mask is "
            f"{describe_grid(grid)}: the files are of different runs; predict the case again."
        )
    return volume
