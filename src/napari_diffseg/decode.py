"""A network's predictions as masks and previews on the source's voxels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_diffseg.regions import Number, nest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_diffseg.imaging.geometry.grid import Grid
    from napari_diffseg.imaging.geometry.rim import Rim
    from napari_diffseg.recipe import Recipe


def decode_masks(
    x0: npt.NDArray[np.float32], grid: Grid, recipe: Recipe, *, rim: Rim | None = None, slices: Sequence[int] = ()
) -> npt.NDArray[np.bool_]:
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
    rim : Rim, optional
        What the network was not shown: there it is as at the nearest voxel that it was shown, and outside of the brain
        it is 0. Without, a mask is what the network gave, wherever that is.
    slices : sequence of int
        Source slice indices of the S slices; for the rim.

    Returns
    -------
    ndarray, (labels, S, U, V), bool
        U and V are the source's two axes across the slices, in their order. Regions nest: a voxel of an inner one is
        one of those around it.
    """
    labels = [grid.to_source(x0[:, c], fill=recipe.mask_low) > recipe.threshold for c in range(x0.shape[1])]
    return as_shown(np.stack(labels), recipe, rim=rim, slices=slices)


def decode_probability(
    x0: npt.NDArray[np.float32], grid: Grid, recipe: Recipe, *, rim: Rim | None = None, slices: Sequence[int] = ()
) -> npt.NDArray[np.float32]:
    """Expected x_0 (S, labels, rows, columns) as nested probabilities (labels, S, U, V) on the source, float32.

    `rim` and `slices` as for `decode_masks`.
    """
    values = recipe.decode_values(x0)
    labels = [grid.to_source(values[:, c], fill=0.0) for c in range(x0.shape[1])]
    return as_shown(np.stack(labels), recipe, rim=rim, slices=slices)


def as_shown(
    labels: npt.NDArray[Number], recipe: Recipe, *, rim: Rim | None = None, slices: Sequence[int] = ()
) -> npt.NDArray[Number]:
    """Masks or probabilities on the source's voxels, (labels, S, U, V), on the brain alone, rim and all, and nested.

    May be changed in place; `rim` and `slices` as for `decode_masks`.
    """
    if rim is not None:
        for planes in labels:
            rim.carry_on(planes, slices)
    return nest(labels, recipe.regions)


def decode_preview(
    x0: npt.NDArray[np.float32], grid: Grid, recipe: Recipe, *, rim: Rim | None = None, slice_index: int = 0
) -> npt.NDArray[np.float32]:
    """One predicted channel (rows, columns) on the source's voxels (U, V), 0 background and 1 lesion, float32."""
    planes = grid.to_source(recipe.decode_values(x0)[None], fill=0.0)
    plane: npt.NDArray[np.float32] = (planes if rim is None else rim.carry_on(planes, (slice_index,)))[0]
    return plane
