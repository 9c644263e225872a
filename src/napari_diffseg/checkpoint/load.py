"""Read a checkpoint, whatever it comes in, without trusting it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_diffseg.checkpoint.fit import check_finite, check_recipe, check_shapes
from napari_diffseg.checkpoint.guess import NETWORK_OVERRIDES, guessed_recipe, override_network, still_guessed
from napari_diffseg.checkpoint.metadata import parse_metadata
from napari_diffseg.checkpoint.model import Checkpoint
from napari_diffseg.checkpoint.resolve import resolve_checkpoint
from napari_diffseg.checkpoint.safetensors_file import is_safetensors, open_safetensors
from napari_diffseg.checkpoint.source import digest_of, read_source, refuse_other_format
from napari_diffseg.checkpoint.torch_zip import MAGIC, open_torch_zip
from napari_diffseg.errors import BadCheckpoint, BadRecipe
from napari_diffseg.imaging.naming import shown_name
from napari_diffseg.networks.infer import infer_config
from napari_diffseg.recipe import make_recipe

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from napari_diffseg.checkpoint.metadata import Metadata
    from napari_diffseg.checkpoint.weights import WeightsFile
    from napari_diffseg.networks.config import UNetConfig
    from napari_diffseg.recipe import Recipe

OWN = "diffseg safetensors"
"""Kind of a checkpoint whose recipe came with its weights."""

BARE = "state dict"
"""Kind of a checkpoint whose recipe had to be put together."""


def load_checkpoint(path: Path | str, **overrides: Any) -> Checkpoint:
    """Read a checkpoint: our own `.safetensors`, or a state dict as the original code saves it.

    What a file is, its first bytes say, not its name. Nothing in it is run, sizes are checked before memory is taken,
    and checksums are verified where the format has them. Weights that come without a recipe get the paper's, as far
    as neither they nor the overrides say otherwise; `Checkpoint.guesses` has a line for each such setting.

    Parameters
    ----------
    path : path
        The file, or the word `demo` for the shipped one.
    **overrides
        Fields of `Recipe`, and `num_heads`, `num_head_channels` and `new_attention_order` of `UNetConfig`. Each
        replaces what the file says, or a guess.

    Returns
    -------
    Checkpoint
        Its weights fit its network and are finite.

    Raises
    ------
    BadCheckpoint
        If the file is absent, damaged, unsafe, or not of a network that can be used here.
    BadRecipe
        If an override is unknown, refused, or contradicts the network.
    """
    path = resolve_checkpoint(path)
    try:
        return _load(path, overrides)
    except BadCheckpoint as err:
        raise BadCheckpoint(f"{shown_name(path)}: {err}") from err


def _load(path: Path, overrides: Mapping[str, Any]) -> Checkpoint:
    data = read_source(path)
    if data.startswith(MAGIC):
        file = open_torch_zip(data)
    elif is_safetensors(data):
        file = open_safetensors(data)
    else:
        refuse_other_format(data)
    metadata = None if file.metadata is None else parse_metadata(file.metadata)
    config, recipe, guesses = _bare(path, file, overrides) if metadata is None else _own(metadata, overrides)
    check_shapes(file.shapes, config)
    state = file.read()
    check_finite(state)
    return Checkpoint(
        path=path,
        recipe=recipe,
        config=config,
        state=state,
        digest=digest_of(data),
        kind=BARE if metadata is None else OWN,
        guesses=guesses,
        card={} if metadata is None else metadata.card,
        overrides=_as_taken(overrides, config, recipe),
    )


def _as_taken(overrides: Mapping[str, Any], config: UNetConfig, recipe: Recipe) -> dict[str, Any]:
    """What the overrides were taken to mean, as values that JSON can hold."""
    values = config.to_dict() | recipe.model_dump(mode="json")
    return {name: values[name] for name in overrides}


def _own(metadata: Metadata, overrides: Mapping[str, Any]) -> tuple[UNetConfig, Recipe, tuple[str, ...]]:
    config = metadata.network
    try:
        check_recipe(metadata.recipe, config)
    except BadRecipe as err:
        raise BadCheckpoint(f"its recipe does not fit its network: {err}") from err
    if not overrides:
        return config, metadata.recipe, metadata.guesses
    config = override_network(config, overrides)
    recipe = make_recipe(metadata.recipe.model_dump() | _of_recipe(overrides))
    check_recipe(recipe, config)
    return config, recipe, still_guessed(metadata.guesses, overrides)


def _bare(path: Path, file: WeightsFile, overrides: Mapping[str, Any]) -> tuple[UNetConfig, Recipe, tuple[str, ...]]:
    inferred = infer_config(file.shapes)
    config = override_network(inferred.config, overrides)
    recipe, guesses = guessed_recipe(config, _of_recipe(overrides), path)
    return config, recipe, (*file.notes, *still_guessed(inferred.guesses, overrides), *guesses)


def _of_recipe(overrides: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in overrides.items() if name not in NETWORK_OVERRIDES}
