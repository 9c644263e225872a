"""Smooth Gaussian random fields, the source of everything irregular in a phantom."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage as ndi

Float32Array = npt.NDArray[np.float32]

_COARSE_PER_LENGTH = 1.5


def smooth_field(
    rng: np.random.Generator, shape: tuple[int, ...], *, length_mm: float, spacing_mm: tuple[float, ...]
) -> Float32Array:
    """A random field of mean 0 and variance 1 that varies over `length_mm`.

    White noise on a coarse grid, smoothed and enlarged linearly from a random phase: the cost does not grow with the
    length. Axes of one voxel stay constant.

    Parameters
    ----------
    rng : numpy.random.Generator
        Where the noise comes from.
    shape : tuple of int
        Shape of the field.
    length_mm : float
        Correlation length; below about 1.5 voxels the field is white.
    spacing_mm : tuple of float
        Voxel size along each axis, mm.

    Returns
    -------
    ndarray, `shape`, float32
        All zero where the field has no variance (a single voxel).
    """
    steps = [max(1.0, length_mm / s / _COARSE_PER_LENGTH) for s in spacing_mm]
    coarse = [int(np.ceil(n / step)) + 3 if n > 1 else 1 for n, step in zip(shape, steps, strict=True)]
    noise = rng.standard_normal(coarse, dtype=np.float32)
    sigma = [1.0 if n > 1 else 0.0 for n in shape]
    field: Float32Array = ndi.gaussian_filter(noise, sigma, mode="wrap", truncate=3.0).astype(np.float32)
    phases = rng.random(len(shape))
    for axis, (n, step) in enumerate(zip(shape, steps, strict=True)):
        if n > 1:
            field = _enlarge(field, axis, positions=np.arange(n) / step + phases[axis])
    field -= field.mean()
    field /= field.std() + np.float32(1e-6)
    return field


def _enlarge(field: Float32Array, axis: int, *, positions: npt.NDArray[np.float64]) -> Float32Array:
    below = np.minimum(positions.astype(np.intp), field.shape[axis] - 2)
    along = [1] * field.ndim
    along[axis] = positions.size
    weight = (positions - below).astype(np.float32).reshape(along)
    low = field.take(below, axis)
    enlarged: Float32Array = low + weight * (field.take(below + 1, axis) - low)
    return enlarged
