"""Whether weights, network and recipe belong together."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import torch

from napari_diffseg.checkpoint.weights import shown, shown_some
from napari_diffseg.errors import BadCheckpoint, BadRecipe, Remedy
from napari_diffseg.networks.unet import UNet

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_diffseg.networks.config import UNetConfig
    from napari_diffseg.recipe import Recipe


def check_shapes(shapes: Mapping[str, tuple[int, ...]], config: UNetConfig) -> None:
    """Compare names and shapes with those of the network, which is built without memory.

    Raises
    ------
    BadCheckpoint
        If a tensor is missing, surplus or of another shape; up to three are named.
    """
    wanted = _shapes_of(config)
    if missing := [name for name in wanted if name not in shapes]:
        raise BadCheckpoint(
            f"tensors are missing ({shown_some(missing)}): these are another network's weights, or "
            "cut short: choose another file."
        )
    if surplus := [name for name in shapes if name not in wanted]:
        raise BadCheckpoint(
            f"there are tensors too many ({shown_some(surplus)}): these are another network's weights, "
            "choose another file."
        )
    wrong = [f"{name} {shapes[name]} instead of {wanted[name]}" for name in wanted if shapes[name] != wanted[name]]
    if wrong:
        raise BadCheckpoint(
            f"tensors are of another shape ({shown_some(wrong)}): these are another network's weights, "
            "choose another file."
        )


@lru_cache(maxsize=4)
def _shapes_of(config: UNetConfig) -> Mapping[str, tuple[int, ...]]:
    with torch.device("meta"):
        return {name: tuple(tensor.shape) for name, tensor in UNet(config).state_dict().items()}


def check_finite(state: Mapping[str, torch.Tensor]) -> None:
    """Refuse weights that are NaN or infinite: the masks they make are empty, without a word.

    Raises
    ------
    BadCheckpoint
        If there are any; the first tensor is named.
    """
    for name, tensor in state.items():
        if not bool(torch.isfinite(tensor).all()):
            bad = int((~torch.isfinite(tensor)).sum())
            raise BadCheckpoint(
                f"{bad} of {tensor.numel()} values of tensor {shown(name)} are NaN or infinite: its training went "
                "wrong, choose an earlier file."
            )


def check_recipe(recipe: Recipe, config: UNetConfig) -> None:
    """Compare what a recipe promises with what the network takes and gives.

    Raises
    ------
    BadRecipe
        If channels or size do not agree.
    """
    if recipe.in_channels != config.in_channels:
        raise BadRecipe(
            f"Recipe: {len(recipe.modalities)} modalities and {len(recipe.labels)} labels make {recipe.in_channels} "
            f"channels, but the network takes {config.in_channels}: correct the recipe's modalities or labels.",
            Remedy("modalities"),
            Remedy("labels"),
        )
    if recipe.out_channels != config.out_channels:
        raise BadRecipe(
            f"Recipe: {len(recipe.labels)} labels with variance {recipe.variance} make {recipe.out_channels} channels, "
            f"but the network gives {config.out_channels}: correct the recipe's labels or variance.",
            Remedy("labels"),
            Remedy("variance"),
        )
    if any(length % config.size_multiple for length in recipe.size):
        raise BadRecipe(
            f"Recipe: size {recipe.size[0]} x {recipe.size[1]} must be multiples of {config.size_multiple} for this "
            "network: correct the recipe's size.",
            Remedy("size"),
        )
