"""Brings intensities to the scale that a network was trained on."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_diffseg.errors import BadImage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_diffseg.imaging.modes import NormalisationName, PercentileOfName
    from napari_diffseg.imaging.volume import Volume

    Scale = Callable[[npt.NDArray[Any]], npt.NDArray[np.float32]]
    """What a volume's intensities become, voxel by voxel: any part of it may be given."""


def scale_of(
    array: npt.NDArray[Any],
    mode: NormalisationName,
    *,
    percentile: float,
    of: PercentileOfName = "brain",
    within: npt.NDArray[np.bool_] | None = None,
) -> Scale:
    """How to normalise a whole volume of one modality, so that parts of it can be normalised when they are wanted.

    The brain is every voxel that is not 0: real volumes hold negative voxels within it.

    Parameters
    ----------
    array : ndarray, any shape, real
        Finite intensities, background 0.
    mode : {"percentile", "zscore", "minmax", "none"}
        "percentile": clipped to [0, the brain's upper percentile] and divided by it, so within [0, 1]. "zscore": mean
        0 and standard deviation 1 within the brain, background 0. "minmax": least value to 0, greatest to 1. "none":
        as they are.
    percentile : float
        For "percentile", in (0, 100].
    of : {"brain", "image"}
        Of which voxels the percentile is: those that are not 0, or all.
    within : ndarray of the shape of `array`, bool, optional
        The part of the brain that counts; all of it by default.

    Returns
    -------
    callable (ndarray of any shape) -> ndarray of that shape, float32
        For voxels of this volume.

    Raises
    ------
    BadImage
        If the volume has no contrast to normalise: constant, or without a positive upper percentile.
    """
    if mode == "none":
        return _as_they_are
    if mode == "zscore":
        return _by_zscore(_of_brain(array, within))
    if mode == "percentile" and of == "brain":
        return _by_percentile(_of_brain(array, within), percentile)
    values = np.asarray(array, dtype=np.float32)
    if within is not None:
        values = np.where(within, values, np.float32(0))
    return _by_percentile(values, percentile) if mode == "percentile" else _by_minmax(values)


def _of_brain(array: npt.NDArray[Any], within: npt.NDArray[np.bool_] | None) -> npt.NDArray[np.float32]:
    """What is not 0, (N,), float32, in the order in which it lies in memory: any other takes several times as long."""
    axes = np.argsort(array.strides)[::-1]
    values = np.asarray(array.transpose(axes), dtype=np.float32)
    inside = values != 0
    if within is not None:
        inside &= within.transpose(axes)
    return np.asarray(values[inside])


def brain_mask(volumes: Sequence[Volume]) -> npt.NDArray[np.bool_]:
    """Voxels at which any of the volumes, which share one grid, is not 0: (X, Y, Z), bool."""
    masks: list[npt.NDArray[np.bool_]] = [volume.data != 0 for volume in volumes]
    return reduce(_either, masks)


def _either(a: npt.NDArray[np.bool_], b: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    return np.asarray(a | b)


def _as_they_are(part: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    return np.array(part, dtype=np.float32)


def _by_minmax(values: npt.NDArray[np.float32]) -> Scale:
    low, high = float(values.min()), float(values.max())
    if low == high:
        raise BadImage(f"An image is {low:g} everywhere: there is nothing to segment in it; give another.")

    def scale(part: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        return ((np.asarray(part, np.float32) - low) / (high - low)).astype(np.float32)

    return scale


def _by_percentile(counted: npt.NDArray[np.float32], percentile: float) -> Scale:
    high = float(np.percentile(counted, percentile)) if counted.size else 0.0
    if high <= 0:
        raise BadImage(
            f"An image's {percentile:g}th percentile is {high:g}: it needs positive intensities; "
            "give another, or normalise by zscore."
        )

    def scale(part: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        return (np.clip(np.asarray(part, np.float32), 0, high) / np.float32(high)).astype(np.float32)

    return scale


def _by_zscore(brain: npt.NDArray[np.float32]) -> Scale:
    mean = float(brain.mean(dtype=np.float64)) if brain.size else 0.0
    deviation = float(brain.std(dtype=np.float64)) if brain.size else 0.0
    if deviation <= 1e-6 * abs(mean):
        raise BadImage(f"An image is {mean:g} in all of its brain: there is nothing to segment in it; give another.")

    def scale(part: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        own = np.asarray(part, np.float32)
        inside = own != 0
        out = np.zeros_like(own)
        out[inside] = (own[inside] - mean) / deviation
        return out

    return scale
