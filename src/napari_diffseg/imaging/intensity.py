"""Brings intensities to the scale that a network was trained on."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_diffseg.errors import BadImage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_diffseg.imaging.modes import NormalisationName
    from napari_diffseg.imaging.volume import Volume


def normalise(array: npt.NDArray[Any], mode: NormalisationName, *, percentile: float = 99.5) -> npt.NDArray[np.float32]:
    """Normalise one whole volume of one modality; a slice alone would come out otherwise.

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

    Returns
    -------
    ndarray, the same shape, float32

    Raises
    ------
    BadImage
        If the volume has no contrast to normalise: constant, or without a positive upper percentile.
    """
    values = np.asarray(array, dtype=np.float32)
    if mode == "none":
        return values.copy()
    if mode == "percentile":
        return _by_percentile(values, percentile)
    if mode == "zscore":
        return _by_zscore(values)
    low, high = float(values.min()), float(values.max())
    if low == high:
        raise BadImage(f"An image is {low:g} everywhere: there is nothing to segment in it; give another.")
    return ((values - low) / (high - low)).astype(np.float32)


def brain_mask(volumes: Sequence[Volume]) -> npt.NDArray[np.bool_]:
    """Voxels at which any of the volumes, which share one grid, is not 0: (X, Y, Z), bool."""
    masks: list[npt.NDArray[np.bool_]] = [volume.data != 0 for volume in volumes]
    return reduce(_either, masks)


def _either(a: npt.NDArray[np.bool_], b: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    return np.asarray(a | b)


def _by_percentile(values: npt.NDArray[np.float32], percentile: float) -> npt.NDArray[np.float32]:
    brain = values[values != 0]
    high = float(np.percentile(brain, percentile)) if brain.size else 0.0
    if high <= 0:
        raise BadImage(
            f"An image's {percentile:g}th percentile is {high:g}: it needs positive intensities; "
            "give another, or normalise by zscore."
        )
    return (np.clip(values, 0, high) / np.float32(high)).astype(np.float32)


def _by_zscore(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    inside = values != 0
    brain = values[inside]
    mean = float(brain.mean(dtype=np.float64)) if brain.size else 0.0
    deviation = float(brain.std(dtype=np.float64)) if brain.size else 0.0
    if deviation <= 1e-6 * abs(mean):
        raise BadImage(f"An image is {mean:g} in all of its brain: there is nothing to segment in it; give another.")
    out = np.zeros_like(values)
    out[inside] = (brain - mean) / deviation
    return out
