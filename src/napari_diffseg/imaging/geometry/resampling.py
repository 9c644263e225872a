"""Brings an image of a case to the grid of another one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_diffseg.errors import BadCase
from napari_diffseg.imaging.geometry.regrid import LINEAR, NEAREST, find_reordering, regrid
from napari_diffseg.imaging.geometry.resample_plane import blur_sigma
from napari_diffseg.imaging.names.naming import shown_name
from napari_diffseg.imaging.volume import Volume, describe_grid, same_grid

if TYPE_CHECKING:
    from collections.abc import Mapping

_SAME_SIZE: Final = 0.99


def finest(volumes: Mapping[str, Volume]) -> str:
    """The image with the smallest voxels, to within a hundredth; of several the first.

    On its grid no image loses detail: coarser ones are interpolated, none is thinned out.

    Parameters
    ----------
    volumes : mapping of str to Volume
        At least one.
    """
    sizes_mm3 = {name: volume.voxel_mm3 for name, volume in volumes.items()}
    smallest = min(sizes_mm3.values())
    return next(name for name, size in sizes_mm3.items() if smallest >= _SAME_SIZE * size)


def resample_image(volume: Volume, grid: Volume, name: str) -> Volume:
    """An image on another one's voxels, linearly interpolated where the files say that the voxels lie.

    Nothing is registered. Where the voxels are the same, stored in another order or mirrored, each value is copied.
    Along axes on which the new voxels are more than 1.2 old ones apart the image is smoothed first, as the network's
    pixels are, so that what lies between the new voxels is averaged and not skipped.

    Parameters
    ----------
    volume, grid : Volume
        The image, and the one on whose grid it is wanted.
    name : str
        What `grid` is called, for the note.

    Returns
    -------
    Volume
        With the grid's affine and header, and a note of what it was; float32 unless its values were copied; 0 outside
        the outer faces of the image's voxels. `volume` itself where the grids are the same.

    Raises
    ------
    BadCase
        If the image does not reach the grid anywhere.
    """
    if same_grid(volume, grid):
        return volume
    if (reordering := find_reordering(volume, grid)) is not None:
        moved = _on_grid(volume, reordering.apply(volume.data), grid, name, "reordered")
    else:
        smooth = _smoothed(volume.data.astype(np.float32), _distances(volume, grid))
        moved = _on_grid(volume, regrid(smooth, volume, grid, order=LINEAR), grid, name, "resampled")
    if moved.data.min() == moved.data.max():
        raise BadCase(
            f"{_called(volume)}, {describe_grid(volume)}, does not reach the voxels of {name}, {describe_grid(grid)}: "
            "check that both are of one patient, and register them."
        )
    return moved


def resample_mask(mask: Volume, grid: Volume, name: str) -> Volume:
    """A mask of labels on an image's voxels, int32, each the nearest label; else as `resample_image`."""
    if same_grid(mask, grid):
        return mask
    data = regrid(mask.data.astype(np.int32), mask, grid, order=NEAREST)
    return _on_grid(mask, data, grid, name, "resampled")


def _on_grid(volume: Volume, data: npt.NDArray[np.generic], grid: Volume, name: str, how: str) -> Volume:
    note = f"{how} to the grid of {name}: it was {describe_grid(volume)}"
    return Volume(data, grid.affine, grid.header, volume.path, (*volume.notes, note), resampled_to=name)


def _called(volume: Volume) -> str:
    return "The image" if volume.path is None else shown_name(volume.path)


def _distances(volume: Volume, grid: Volume) -> npt.NDArray[np.float64]:
    """How many voxels of the image lie between neighbours of the grid, along each axis of the image: (3,)."""
    between = np.linalg.solve(volume.affine[:3, :3], grid.affine[:3, :3])
    return np.asarray(np.abs(between).max(axis=1), dtype=np.float64)


def _smoothed(data: npt.NDArray[np.float32], distances: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    sigma = [blur_sigma(float(distance)) for distance in distances]
    return ndimage.gaussian_filter(data, sigma, mode="nearest") if any(sigma) else data
