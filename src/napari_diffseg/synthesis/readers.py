"""Readers who disagree in a known way, and the exact probability that one of them marks a voxel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from napari_diffseg.synthesis.fields import Float32Array
    from napari_diffseg.synthesis.settings import ReaderModel


def reader_probability(boundary: Float32Array, model: ReaderModel) -> Float32Array:
    """P(a reader marks the voxel) = P(delta > boundary), in closed form.

    Parameters
    ----------
    boundary : ndarray, (...), float32
        Level function of `Lesions.boundary`; values of 5 and more have probability exactly 0.
    model : ReaderModel
        Distribution of the readers' delta.

    Returns
    -------
    ndarray, (...), float32
    """
    return np.where(boundary < 5, model.probability(boundary), 0).astype(np.float32)


def draw_readers(
    rng: np.random.Generator, boundary: Float32Array, *, model: ReaderModel, count: int
) -> npt.NDArray[np.uint8]:
    """Masks of `count` readers, (count, ...) uint8 of 0 and 1; the first k do not depend on count."""
    masks = np.zeros((count, *boundary.shape), np.uint8)
    for mask in masks:
        mean = model.tight if rng.random() < model.tight_weight else model.generous
        delta = min(mean + model.sd * rng.standard_normal(), 4.9)
        mask[...] = boundary < delta
    return masks
