"""What `predict` left of a case on disk, read back."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_diffseg.errors import BadCase, BadImage, GridMismatch
from napari_diffseg.imaging.naming import shown_name
from napari_diffseg.imaging.nifti import read_mask, read_volume
from napari_diffseg.imaging.volume import describe_grid, same_grid

if TYPE_CHECKING:
    from pathlib import Path

    from napari_diffseg.imaging.volume import Volume

Bool = npt.NDArray[np.bool_]
Float = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Predicted:
    """One case's masks and maps, all (X, Y, Z) in the source's voxel order.

    Attributes
    ----------
    case_id : str
        Name of its folder.
    grid : Volume
        The mask as it was read; says where the voxels lie.
    mask : ndarray, (X, Y, Z), bool
        The consensus.
    mean, uncertainty : ndarray, (X, Y, Z), float32, or None
        Share of the members that see lesion, and their variance; None where the folder has no such file.
    expected : ndarray, (X, Y, Z), float32, or None
        The probability after one evaluation; None where the folder has no such file.
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
        As run.json states it; empty where it does not.
    timesteps : int or None
        Denoising steps of each member, likewise.
    """

    case_id: str
    grid: Volume
    mask: Bool
    mean: Float | None
    uncertainty: Float | None
    expected: Float | None
    members: Bool
    member_count: int
    slice_axis: int
    slices: tuple[int, ...]
    notes: tuple[str, ...]
    sampler: str
    timesteps: int | None

    def covered(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """An array (..., X, Y, Z) on the slices that the run covered."""
        if len(self.slices) == self.grid.shape[self.slice_axis]:
            return array
        return np.take(array, self.slices, axis=array.ndim - 3 + self.slice_axis)


def find_predictions(folder: Path) -> dict[str, Path]:
    """The cases in a folder that `predict` wrote, by name: its subfolders, or the folder itself if it is one case.

    Raises
    ------
    BadCase
        If the folder cannot be read or holds no case.
    """
    try:
        inside = sorted(p for p in folder.iterdir() if p.is_dir() and _is_case(p))
    except OSError as err:
        raise BadCase(f"Folder {shown_name(folder)} cannot be read: {err.strerror}: choose another.") from err
    if _is_case(folder):
        return {folder.resolve().name: folder}
    if not inside:
        raise BadCase(
            f"Folder {shown_name(folder)} holds no predictions (CASE/mask.nii.gz): "
            "give the folder that napari-diffseg predict wrote with --out."
        )
    return {p.name: p for p in inside}


def read_prediction(folder: Path, *, case_id: str, channel: str | None = None) -> Predicted:
    """Read one case's folder.

    Parameters
    ----------
    folder : Path
        With mask.nii.gz and, where there are, mean.nii.gz, uncertainty.nii.gz, expected.nii.gz, members
        and run.json.
    case_id : str
        Its name in the report.
    channel : str, optional
        Which of several masks, as it stands in the file's name: `tumour-core` for mask_tumour-core.nii.gz. Without
        it, mask.nii.gz is the run's, whatever a person put beside it; so is the one mask that has a mean.

    Returns
    -------
    Predicted

    Raises
    ------
    BadCase
        If there is no mask, or the run has several and no channel is named.
    BadImage
        If a file is damaged.
    GridMismatch
        If the files of the case do not share one grid.
    """
    path = _mask_path(folder, case_id, channel)
    tail = path.name.removeprefix("mask").removesuffix(".nii.gz")
    grid = read_mask(path)
    record = _run_record(folder)
    axis, slices, notes = _coverage(record, grid.shape)
    members = [_on_grid(read_mask(p), grid, case_id).data > 0 for p in _member_paths(folder, tail)]
    stated = record.get("members")
    if record.get("status") == "running":
        notes = (*notes, "the run was not finished: these are the members it had")
    return Predicted(
        case_id=case_id,
        grid=grid,
        mask=grid.data > 0,
        mean=_read_map(folder / f"mean{tail}.nii.gz", grid, case_id),
        uncertainty=_read_map(folder / f"uncertainty{tail}.nii.gz", grid, case_id),
        expected=_read_map(folder / f"expected{tail}.nii.gz", grid, case_id),
        members=np.stack(members) if members else np.zeros((0, *grid.shape), np.bool_),
        member_count=len(members) or (len(stated) if isinstance(stated, list) else 0),
        slice_axis=axis,
        slices=slices,
        notes=notes,
        sampler=str(record.get("sampler", "")),
        timesteps=steps if isinstance(steps := record.get("timesteps"), int) and steps > 0 else None,
    )


def _is_case(folder: Path) -> bool:
    return (folder / "run.json").is_file() or any(folder.glob("mask*.nii.gz"))


def _mask_path(folder: Path, case_id: str, channel: str | None) -> Path:
    there = sorted(folder.glob("mask*.nii.gz"))
    if channel is not None:
        for path in there:
            if path.name == f"mask_{channel}.nii.gz":
                return path
    if not there:
        raise BadCase(f"Case {case_id}: its folder has no mask.nii.gz: finish the run with predict --resume.")
    # A run writes a mean beside each of its masks; a mask without one was put there by somebody, such as a correction.
    written = [p for p in there if p.with_name(p.name.replace("mask", "mean", 1)).exists()]
    candidates = [p for p in there if p.name == "mask.nii.gz"] or written or there
    if channel is None and len(candidates) == 1:
        return candidates[0]
    channels = ", ".join(p.name.removeprefix("mask").removesuffix(".nii.gz").removeprefix("_") or "-" for p in there)
    raise BadCase(f"Case {case_id}: its masks are of {channels}: name the one to evaluate with --channel.")


def _member_paths(folder: Path, tail: str) -> list[Path]:
    """Members by number: of member-001 and member-1000 the first is first."""
    paths = (folder / "members").glob(f"member{tail}-*.nii.gz")
    numbered = [(p.name.removesuffix(".nii.gz").rpartition("-")[2], p) for p in paths]
    return [p for _, p in sorted((int(number), p) for number, p in numbered if number.isdecimal())]


def _read_map(path: Path, grid: Volume, case_id: str) -> Float | None:
    if not path.exists():
        return None
    try:
        volume = read_volume(path)
    except BadImage:
        # A map of one value is no image, but it is a map: nobody sees lesion anywhere.
        volume = read_mask(path)
    return _on_grid(volume, grid, case_id).data.astype(np.float32)


def _on_grid(volume: Volume, grid: Volume, case_id: str) -> Volume:
    if not same_grid(volume, grid):
        raise GridMismatch(
            f"Case {case_id}: {shown_name(volume.path or 'a map')} is {describe_grid(volume)}, but its mask is "
            f"{describe_grid(grid)}: the files are of different runs; predict the case again."
        )
    return volume


def _run_record(folder: Path) -> dict[str, Any]:
    try:
        record = json.loads((folder / "run.json").read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _coverage(record: dict[str, Any], shape: tuple[int, ...]) -> tuple[int, tuple[int, ...], tuple[str, ...]]:
    """The slice axis, the slices that the run covered, and a note where run.json does not say."""
    axis, slices = record.get("slice_axis"), record.get("slices")
    if isinstance(axis, int) and 0 <= axis < 3 and isinstance(slices, list) and slices:
        covered = sorted({s for s in slices if isinstance(s, int) and 0 <= s < shape[axis]})
        if len(covered) == len(slices):
            missing = shape[axis] - len(covered)
            note = (f"the run covered {len(covered)} of {shape[axis]} slices: only they are measured",)
            return axis, tuple(covered), note if missing else ()
    return 2, tuple(range(shape[2])), ("no readable run.json: slices are counted along the last axis, all of them",)
