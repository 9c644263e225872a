"""Resamples a plane along its two axes: exactly where pixels are voxels, linearly elsewhere."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy import ndimage

_SAME_STEP = 1e-3
_BLUR_ABOVE = 1.2
_EDGE = 1e-6


@dataclass(frozen=True)
class AxisMap:
    """Where, along one axis, the centres of output pixels lie among input voxels: `start + step * pixel`.

    Attributes
    ----------
    voxels : int
        Length of the input axis.
    pixels : int
        Length of the output axis.
    start : float
        Input position of output pixel 0.
    step : float
        Input voxels from one output pixel to the next; negative where the output runs the other way.
    """

    voxels: int
    pixels: int
    start: float
    step: float

    @classmethod
    def centred(cls, voxels: int, pixels: int, *, step: float, between: tuple[int, int], flip: bool = False) -> Self:
        """Pixels whose middle lies in the middle of two voxels.

        Where `step` is 1, to within a thousandth, pixels are voxels: 240 voxels to 224 pixels crop 8 on either side. Of
        an odd difference the half is rounded down before the first pixel.

        Parameters
        ----------
        voxels, pixels : int
            Lengths.
        step : float
            Input voxels to an output pixel, positive.
        between : (int, int)
            First and last input voxel of what is centred.
        flip : bool
            Whether the output runs against the input.
        """
        low, high = between
        sign = -1.0 if flip else 1.0
        if abs(step - 1) < _SAME_STEP:
            margin = math.floor((high - low + 1 - pixels) / 2)
            return cls(voxels, pixels, float(high - margin if flip else low + margin), sign)
        middle = (low + high) / 2
        return cls(voxels, pixels, middle - sign * step * (pixels - 1) / 2, sign * step)

    @property
    def is_exact(self) -> bool:
        """Whether output pixels are input voxels, so that nothing is interpolated."""
        return abs(self.step) == 1 and self.start == int(self.start)

    @cached_property
    def inverse(self) -> AxisMap:
        """The way back: input and output exchanged."""
        return AxisMap(self.pixels, self.voxels, -self.start / self.step, 1 / self.step)

    @cached_property
    def inside(self) -> npt.NDArray[np.bool_]:
        """Output pixels whose centre lies in an input voxel: (pixels,), bool."""
        position = self.start + self.step * np.arange(self.pixels)
        return (position >= -0.5 - _EDGE) & (position <= self.voxels - 0.5 + _EDGE)

    @property
    def covered(self) -> npt.NDArray[np.bool_]:
        """Input voxels whose centre lies in an output pixel: (voxels,), bool."""
        return self.inverse.inside


def resample_plane(source: npt.NDArray[Any], out: npt.NDArray[np.float32], rows: AxisMap, columns: AxisMap) -> None:
    """Fill a plane of pixels from a plane of voxels; pixels outside the voxels keep what they hold.

    Between voxels the value is linear. Where pixels are more than 1.2 voxels apart the voxels are smoothed first by a
    Gaussian of (distance - 1) / 2 voxels, so that what is finer than a pixel is averaged and not skipped.

    Parameters
    ----------
    source : ndarray, (rows.voxels, columns.voxels)
        Any real type.
    out : ndarray, (rows.pixels, columns.pixels), float32
        Written in place.
    rows, columns : AxisMap
        The two axes.
    """
    within = np.ix_(rows.inside, columns.inside)
    if rows.is_exact and columns.is_exact:
        out[within] = source[np.ix_(_taken(rows), _taken(columns))]
        return
    plane = np.ascontiguousarray(source, dtype=np.float32)
    sigma = [blur_sigma(abs(axis.step)) for axis in (rows, columns)]
    if any(sigma):
        plane = ndimage.gaussian_filter(plane, sigma, mode="nearest")
    values = ndimage.affine_transform(
        plane,
        np.array([rows.step, columns.step]),
        offset=(rows.start, columns.start),
        output_shape=out.shape,
        output=np.float32,
        order=1,
        mode="nearest",
    )
    out[within] = values[within]


def _taken(axis: AxisMap) -> npt.NDArray[np.intp]:
    """The voxel that each inside pixel of an exact axis shows."""
    return np.asarray(axis.start + axis.step * np.flatnonzero(axis.inside)).astype(np.intp)


def blur_sigma(distance: float) -> float:
    """Standard deviation, in input voxels, of the smoothing before samples are taken `distance` voxels apart."""
    return (distance - 1) / 2 if distance > _BLUR_ABOVE else 0.0
