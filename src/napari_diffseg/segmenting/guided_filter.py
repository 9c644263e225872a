"""The guided filter: smoothing that keeps to the edges of an image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.ndimage import find_objects, uniform_filter

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Float = npt.NDArray[np.float32]

RADIUS_MM: Final = 4.0
_EPSILON: Final = 0.01
"""Of the guide's variance within the brain: fluctuations below it are no edges."""
_PERCENTILES: Final = (1, 99)
_NOTHING_BELOW: Final = 1e-3


def guided(probability: Float, guide: Float, brain: npt.NDArray[np.bool_], spacing_mm: Sequence[float]) -> Float:
    """A probability map, in every neighbourhood the linear function of an image's brightness that fits it best.

    So its edges move to those of the image, and what the image does not show is smoothed out. A neighbourhood is a box
    of `RADIUS_MM` to each side, of brain alone.

    Parameters
    ----------
    probability : ndarray, (X, Y, Z), float32
        In [0, 1].
    guide : ndarray, (X, Y, Z), float32
        The image, in any units; its darkest and brightest percent are cut off.
    brain : ndarray, (X, Y, Z), bool
        Where there is brain; elsewhere the probability stays as it is.
    spacing_mm : sequence of float
        Size of a voxel along the three axes.

    Returns
    -------
    ndarray, (X, Y, Z), float32
        In [0, 1].

    References
    ----------
    He, Sun & Tang 2013, "Guided image filtering", IEEE TPAMI 35(6), equations 5 to 8, over the voxels of a mask.
    """
    out = probability.copy()
    sizes = [2 * round(RADIUS_MM / mm) + 1 for mm in spacing_mm]
    box = _box((probability > _NOTHING_BELOW) & brain, margins=sizes)
    values = guide[brain]
    if box is None or not values.size or values.max() == values.min():
        return out
    low, high = np.percentile(values, _PERCENTILES)
    values = np.clip(values, low, high)
    scaled = (np.clip(guide[box], low, high) - values.mean()) / max(float(values.std()), 1e-6)
    inside = brain[box]
    fitted = _fitted(probability[box], scaled.astype(np.float32), inside.astype(np.float32), sizes)
    out[box] = np.where(inside, np.clip(fitted, 0, 1), out[box])
    return out


def _fitted(p: Float, guide: Float, inside: Float, sizes: Sequence[int]) -> Float:
    """The mean, over all boxes that a voxel lies in, of what each box's linear fit gives there."""

    def total(values: Float) -> Float:
        summed: Float = uniform_filter(values * inside, sizes, mode="constant")
        return summed

    share: Float = np.maximum(total(np.ones_like(p)), np.float32(1e-6))
    mean_p, mean_guide = total(p) / share, total(guide) / share
    covariance = total(p * guide) / share - mean_p * mean_guide
    variance = total(guide * guide) / share - mean_guide * mean_guide
    slope: Float = covariance / (variance + np.float32(_EPSILON))
    offset: Float = mean_p - slope * mean_guide
    fitted: Float = (total(slope) * guide + total(offset)) / share
    return fitted


def _box(where: npt.NDArray[np.bool_], *, margins: Sequence[int]) -> tuple[slice, ...] | None:
    """The box around what is true, and so many voxels more; None where nothing is."""
    if not where.any():
        return None
    ends = zip(find_objects(where.astype(np.uint8))[0], margins, where.shape, strict=True)
    return tuple(slice(max(0, s.start - margin), min(n, s.stop + margin)) for s, margin, n in ends)
