"""The rim of the brain: its outermost voxels, which tell more of the preprocessing than of the patient."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self, TypeVar

import numpy as np
import numpy.typing as npt
from scipy import ndimage as ndi

from napari_diffseg.imaging.geometry.holes import box_around, fill_holes

if TYPE_CHECKING:
    from collections.abc import Sequence

D = TypeVar("D", bound=np.generic)
Bool = npt.NDArray[np.bool_]
Index = npt.NDArray[np.intp]

_TOLERANCE_MM = 1e-3


@dataclass(frozen=True, eq=False)
class Rim:
    """Which voxels of a brain a network is shown, and how its answer becomes one of the whole brain and nothing else.

    Skull stripping, resampling and coarser voxels make the outermost voxels of a brain dim, or take them away, which
    says nothing of the patient. Each slice is looked at alone, as slices may be thick. A hole within a slice, such as
    fluid of intensity 0, counts as inside the brain: what a network says of it stays, so that the mask of a lesion
    around fluid has no hole that the network did not give it.

    Attributes
    ----------
    brain : ndarray, (X, Y, Z), bool
        Where the brain is.
    shown : ndarray, (X, Y, Z), bool
        The brain without its rim.
    inside : ndarray, (X, Y, Z), bool
        The brain with its holes filled: masks are empty elsewhere.
    slice_axis : int
        Along which slices are counted.
    """

    brain: Bool
    shown: Bool
    inside: Bool
    slice_axis: int
    _nearest: dict[int, tuple[Index, Index]] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def of(cls, brain: Bool, *, width_mm: float, spacing_mm: Sequence[float], slice_axis: int) -> Self:
        """The rim of a brain.

        Parameters
        ----------
        brain : ndarray, (X, Y, Z), bool
            Holes within a slice, such as fluid of intensity 0, have no rim; nor has the border of the image.
        width_mm : float
            The rim is the outermost voxel, which is part background, and so much more of the slice, from the middle
            of that voxel to those of others.
        spacing_mm : sequence of float
            Size of a voxel along the three axes.
        slice_axis : int
            Along which slices are counted.
        """
        shown = np.zeros_like(brain)
        planes, seen = np.moveaxis(brain, slice_axis, 0), np.moveaxis(shown, slice_axis, 0)
        inside = np.zeros(planes.shape, np.bool_)
        sampling = [s for axis, s in enumerate(spacing_mm) if axis != slice_axis]
        width = max(sampling) + width_mm + _TOLERANCE_MM
        if box := box_around(planes, margin=1):
            inside[box] = filled = fill_holes(planes[box])
            seen[box] = planes[box] & _eroded(filled, width=width, sampling=sampling)
        return cls(brain, shown, np.moveaxis(inside, 0, slice_axis), slice_axis)

    def carry_on(self, planes: npt.NDArray[D], slices: Sequence[int]) -> npt.NDArray[D]:
        """What a network says of some slices, on all of the brain.

        Each voxel of the rim has that of the nearest voxel that the network was shown; outside of the brain it is 0.

        Parameters
        ----------
        planes : ndarray, (S, U, V)
            U and V are the axes other than `slice_axis`, in their order; changed in place.
        slices : sequence of int
            Source slice index of each.
        """
        inside = np.moveaxis(self.inside, self.slice_axis, 0)
        for plane, s in zip(planes, slices, strict=True):
            rim, nearest = self._pairs(s)
            flat = plane.reshape(-1)
            flat[rim] = flat[nearest]
            plane *= inside[s]  # several times as fast as setting what is outside
        return planes

    def _pairs(self, slice_index: int) -> tuple[Index, Index]:
        """Flat indices within a slice: each voxel of the rim, and the nearest that is shown."""
        if slice_index not in self._nearest:
            brain, shown = (np.moveaxis(a, self.slice_axis, 0)[slice_index] for a in (self.brain, self.shown))
            rim = np.flatnonzero(brain & ~shown)
            if rim.size and shown.any():
                indices = ndi.distance_transform_edt(~shown, return_distances=False, return_indices=True)
                nearest = np.ravel_multi_index(tuple(indices), shown.shape).ravel()[rim]
            else:
                rim = nearest = np.zeros(0, np.intp)
            self._nearest[slice_index] = rim, nearest
        return self._nearest[slice_index]


def _eroded(planes: Bool, *, width: float, sampling: Sequence[float]) -> Bool:
    """Which voxels of planes (S, U, V) have none that is outside within `width` mm of their plane.

    The same as a distance transform that is compared with the width, by shifting the planes as one line of bytes: what
    runs over an end of a row or plane meets the margin there, which is not outside, as beyond an image nothing is.
    """
    reach = [min(int(width / size), n) for size, n in zip(sampling, planes.shape[1:], strict=True)]
    padded = np.pad(planes, [(0, 0), *((r, r) for r in reach)], constant_values=True)
    row = padded.shape[2]
    line = padded.reshape(-1)
    narrower = [line]  # by so many voxels to both sides along V
    for n in range(1, reach[1] + 1):
        narrower.append(_both_sides(narrower[-1], line, n))
    kept = line
    for n in range(reach[0] + 1):
        rest = max(0.0, width**2 - (n * sampling[0]) ** 2)
        along = narrower[min(int(np.sqrt(rest) / sampling[1]), reach[1])]
        kept = _both_sides(kept, along, n * row)
    inside = tuple(slice(r, r + n) for r, n in zip(reach, planes.shape[1:], strict=True))
    return kept.reshape(padded.shape)[(slice(None), *inside)]


def _both_sides(kept: Bool, line: Bool, shift: int) -> Bool:
    """Where `kept` is, and the line so many places before and after."""
    both = kept & line if shift == 0 else kept.copy()
    if shift:
        both[shift:] &= line[:-shift]
        both[:-shift] &= line[shift:]
    return both
