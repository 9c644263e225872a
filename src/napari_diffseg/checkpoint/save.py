"""Write a checkpoint: weights and recipe in one safetensors file."""

from __future__ import annotations

import hashlib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from pydantic import ValidationError

from napari_diffseg.checkpoint.fit import check_finite, check_recipe, check_shapes
from napari_diffseg.checkpoint.metadata import Metadata
from napari_diffseg.checkpoint.safetensors_file import safetensors_bytes
from napari_diffseg.errors import BadCheckpoint, BadRecipe
from napari_diffseg.imaging.atomic import atomic_write
from napari_diffseg.recipe import describe_validation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_diffseg.networks.config import UNetConfig
    from napari_diffseg.recipe import Recipe

DtypeName = Literal["float32", "float16", "own"]
"""How weights are stored; "own": each tensor as it is."""

_TORCH = {"float32": torch.float32, "float16": torch.float16}


def save_checkpoint(
    path: Path | str,
    state: Mapping[str, torch.Tensor],
    *,
    recipe: Recipe,
    config: UNetConfig,
    card: Mapping[str, str] | None = None,
    guesses: Sequence[str] = (),
    dtype: DtypeName = "float32",
    overwrite: bool = False,
) -> str:
    """Write weights with their recipe; the same arguments and version give the same bytes.

    Parameters
    ----------
    path : path
        The file; by custom it ends in `.safetensors`.
    state : mapping of str to Tensor
        The network's state dict, on any device.
    recipe : Recipe
        How its input is made and its output read.
    config : UNetConfig
        The network's shape.
    card : mapping of str to str, optional
        Free lines about it, for people.
    guesses : sequence of str
        What of the recipe is not certain; shown again when the file is loaded.
    dtype : {"float32", "float16", "own"}
        How to store the weights. float16 halves the file and is read back as float32.
    overwrite : bool
        Replace a file that is there.

    Returns
    -------
    str
        SHA-256 of the file, hexadecimal.

    Raises
    ------
    BadCheckpoint
        If the weights do not fit the network, or are not finite (in the chosen dtype).
    BadRecipe
        If recipe and network do not agree, or the card is too long.
    OutputExists, OutputFailed
        If the file cannot be written.
    """
    check_recipe(recipe, config)
    stored = {name: tensor if dtype == "own" else tensor.detach().to(_TORCH[dtype]) for name, tensor in state.items()}
    try:
        check_shapes({name: tuple(tensor.shape) for name, tensor in stored.items()}, config)
        check_finite(stored)
    except BadCheckpoint as err:
        raise BadCheckpoint(f"These weights cannot be saved as {dtype}: {err}") from err
    data = safetensors_bytes(stored, _metadata(recipe, config, card or {}, guesses).to_json())
    atomic_write(Path(path), lambda file: file.write(data), overwrite=overwrite, size=len(data))
    return hashlib.sha256(data).hexdigest()


def _metadata(recipe: Recipe, config: UNetConfig, card: Mapping[str, str], guesses: Sequence[str]) -> Metadata:
    try:
        return Metadata(
            recipe=recipe,
            config=config.to_dict(),
            card=dict(card),
            guesses=tuple(guesses),
            created_with=f"napari-diffseg {_version()}",
        )
    except ValidationError as err:
        raise BadRecipe(f"Model card: {describe_validation(err)}.") from err


def _version() -> str:
    try:
        return version("napari-diffseg")
    except PackageNotFoundError:
        return "from a source tree"
