"""Readers who disagree in a known way, and the exact probability that one of them marks a voxel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Mapping

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


def draw_label_maps(
    rng: np.random.Generator, levels: Mapping[int, Float32Array], *, model: ReaderModel, count: int
) -> npt.NDArray[np.uint8]:
    """Label maps of `count` readers; the first k do not depend on count.

    Parameters
    ----------
    rng : Generator
        Draws a delta for each reader.
    levels : mapping of int to ndarray, (...), float32
        By label, that of the outermost region first, where a reader of delta draws the region: where the level is
        below delta.
    model : ReaderModel
        Distribution of the readers' delta.
    count : int
        Readers.

    Returns
    -------
    ndarray, (count, ...), uint8
        Each voxel has the label of the innermost region that the reader sees there; 0 where none.
    """
    shape = next(iter(levels.values())).shape
    maps = np.zeros((count, *shape), np.uint8)
    for labels in maps:
        mean = model.tight if rng.random() < model.tight_weight else model.generous
        delta = min(mean + model.sd * rng.standard_normal(), 4.9)
        for label, level in levels.items():
            labels[level < delta] = label
    return maps
