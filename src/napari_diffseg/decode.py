"""A network's predictions as masks and previews on the source's voxels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_diffseg.regions import nest

if TYPE_CHECKING:
    from napari_diffseg.imaging.grid import Grid
    from napari_diffseg.recipe import Recipe


def decode_masks(x0: npt.NDArray[np.float32], grid: Grid, recipe: Recipe) -> npt.NDArray[np.bool_]:
    """Final predictions as binary masks on the source's voxels.

    The prediction is brought to the source's voxels first and binarised there, so that a network that works on coarse
    pixels still draws a smooth outline.

    Parameters
    ----------
    x0 : ndarray, (S, labels, rows, columns), float32
        Predicted x_0 of S slices, in the recipe's mask encoding.
    grid : Grid
        The case's grid.
    recipe : Recipe
        Names the encoding, whose midpoint is the threshold.

    Returns
    -------
    ndarray, (labels, S, U, V), bool
        U and V are the source's two axes across the slices, in their order. Regions nest: a voxel of an inner one is
        one of those around it.
    """
    labels = [grid.to_source(x0[:, c], fill=recipe.mask_low) > recipe.threshold for c in range(x0.shape[1])]
    return nest(np.stack(labels), recipe.regions)


def decode_probability(x0: npt.NDArray[np.float32], grid: Grid, recipe: Recipe) -> npt.NDArray[np.float32]:
    """Expected x_0 (S, labels, rows, columns) as nested probabilities (labels, S, U, V) on the source, float32."""
    values = recipe.decode_values(x0)
    return nest(np.stack([grid.to_source(values[:, c], fill=0.0) for c in range(x0.shape[1])]), recipe.regions)


def decode_preview(x0: npt.NDArray[np.float32], grid: Grid, recipe: Recipe) -> npt.NDArray[np.float32]:
    """One predicted channel (rows, columns) on the source's voxels (U, V), 0 background and 1 lesion, float32."""
    values: npt.NDArray[np.float32] = grid.to_source(recipe.decode_values(x0)[None], fill=0.0)[0]
    return values
