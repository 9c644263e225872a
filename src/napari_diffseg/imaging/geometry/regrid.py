"""Brings an array from one volume's voxels to another's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_diffseg.imaging.volume import corner_voxels, same_grid

if TYPE_CHECKING:
    from napari_diffseg.imaging.volume import Volume

NEAREST: Final = 0
LINEAR: Final = 1

_SAME_VOXELS: Final = 0.05
"""Voxels by which a corner may be off where voxels of two grids count as the same, as in `same_grid`."""
_HAIR: Final = 1e-3
"""Voxels by which positions are moved before they are compared with a voxel's face, so that affines that are stored in
32 bits put all voxels of a slice on one side of it."""


def regrid(array: npt.NDArray[Any], source: Volume, target: Volume, *, order: Literal[0, 1]) -> npt.NDArray[Any]:
    """An array on the voxels of `source` as it is on those of `target`.

    Where the voxels of both are the same, stored in another order, mirrored or cropped, each value is copied. Elsewhere
    the field of view of `source` ends at the outer faces of its voxels: a place beyond the last centre, but within the
    last voxel, has that voxel's value.

    Parameters
    ----------
    array : ndarray, (X, Y, Z) of `source`, integer or float32
        In its voxel order.
    source, target : Volume
        The two grids; where they are the same, the array itself is given back.
    order : 0 or 1
        `NEAREST` for labels, `LINEAR` for probabilities. 0 outside `source`.

    Returns
    -------
    ndarray, (X, Y, Z) of `target`, of the same type
    """
    if same_grid(source, target):
        return array
    reordering = find_reordering(source, target)
    return _interpolated(array, source, target, order) if reordering is None else reordering.apply(array)


@dataclass(frozen=True, slots=True)
class Reordering:
    """Voxel for voxel from one grid to another: `axes[i]` of the source runs along axis i of the target.

    Attributes
    ----------
    axes : (int, int, int)
        Source axis along each axis of the target.
    steps : (int, int, int)
        1 where both run the same way, -1 where they run against each other.
    starts : (int, int, int)
        Source index, along that axis, of the target's first voxel; outside the source where that does not reach it.
    shape : (int, int, int)
        Of the target.
    """

    axes: tuple[int, ...]
    steps: tuple[int, ...]
    starts: tuple[int, ...]
    shape: tuple[int, int, int]

    def apply(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The array on the target's voxels, 0 outside the source."""
        turned = array.transpose(self.axes)
        moved = np.zeros(self.shape, array.dtype)
        wanted = [s + d * np.arange(n) for s, d, n in zip(self.starts, self.steps, self.shape, strict=True)]
        there = [(w >= 0) & (w < n) for w, n in zip(wanted, turned.shape, strict=True)]
        taken = [w[inside] for w, inside in zip(wanted, there, strict=True)]
        moved[np.ix_(*there)] = turned[np.ix_(*taken)]
        return moved


def find_reordering(source: Volume, target: Volume) -> Reordering | None:
    """How the target's voxels are those of the source in another order, mirrored or cropped; None where they are not.

    Every corner of the target is to lie within 0.05 voxel of the middle of a voxel of the source's lattice.
    """
    there = np.linalg.solve(source.affine, target.affine)
    turn, start = np.rint(there[:3, :3]).astype(np.int64), np.rint(there[:3, 3]).astype(np.int64)
    if not np.array_equal(np.abs(turn) @ np.ones(3), np.ones(3)) or abs(round(np.linalg.det(turn))) != 1:
        return None
    corners = corner_voxels(target.shape)
    exact = turn @ corners[:3] + start[:, None]
    if np.abs((there @ corners)[:3] - exact).max() > _SAME_VOXELS:
        return None
    axes = [int(np.flatnonzero(column)[0]) for column in turn.T]
    steps = [int(column.sum()) for column in turn.T]
    return Reordering(tuple(axes), tuple(steps), tuple(int(start[a]) for a in axes), target.shape)


def has_same_voxels(source: Volume, target: Volume) -> bool:
    """Whether two grids consist of the same voxels, in whatever order they are stored."""
    found = find_reordering(source, target)
    if found is None or tuple(source.shape[axis] for axis in found.axes) != target.shape:
        return False
    first_or_last = [0 if step > 0 else n - 1 for step, n in zip(found.steps, target.shape, strict=True)]
    return list(found.starts) == first_or_last


def _interpolated(array: npt.NDArray[Any], source: Volume, target: Volume, order: Literal[0, 1]) -> npt.NDArray[Any]:
    there = np.asarray(np.linalg.solve(source.affine, target.affine), np.float64)
    matrix, offset = there[:3, :3], there[:3, 3]
    at = offset + _HAIR if order == NEAREST else offset
    moved: npt.NDArray[Any] = ndimage.affine_transform(
        array, matrix, at, target.shape, output=array.dtype, order=order, mode="nearest", prefilter=False
    )
    _clear_outside(moved, matrix, offset + _HAIR, source.shape)
    return moved


def _clear_outside(
    moved: npt.NDArray[Any], matrix: npt.NDArray[np.float64], offset: npt.NDArray[np.float64], shape: tuple[int, ...]
) -> None:
    """Set voxels to 0 whose centres, `matrix @ index + offset` in voxels of the source, lie beyond its outer faces."""
    _, *across = moved.shape
    second, third = np.arange(across[0])[:, None], np.arange(across[1])
    for index, plane in enumerate(moved):
        inside = np.ones(across, np.bool_)
        for (a, b, c), first, count in zip(matrix, offset, shape, strict=True):
            position = first + a * index + b * second + c * third
            inside &= (position >= -0.5) & (position < count - 0.5)
        plane[~inside] = 0
