"""Read a checkpoint, whatever it comes in, without trusting it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from napari_diffseg.checkpoint.families import recognise
from napari_diffseg.checkpoint.families.guided import as_they_are
from napari_diffseg.checkpoint.fit import check_finite, check_recipe, check_shapes
from napari_diffseg.checkpoint.folder import find_source
from napari_diffseg.checkpoint.guess import NETWORK_OVERRIDES, guessed_recipe, override_network, still_guessed
from napari_diffseg.checkpoint.metadata import parse_metadata
from napari_diffseg.checkpoint.model import Checkpoint
from napari_diffseg.checkpoint.resolve import resolve_checkpoint
from napari_diffseg.checkpoint.safetensors_file import is_safetensors, open_safetensors
from napari_diffseg.checkpoint.source import read_source, refuse_other_format
from napari_diffseg.checkpoint.torch_zip import MAGIC, open_torch_zip
from napari_diffseg.errors import BadCheckpoint, BadRecipe
from napari_diffseg.imaging.names.naming import shown_name
from napari_diffseg.recipe import make_recipe

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from napari_diffseg.checkpoint.families import Sidecar
    from napari_diffseg.checkpoint.families.family import Translate
    from napari_diffseg.checkpoint.metadata import Metadata
    from napari_diffseg.checkpoint.weights import WeightsFile
    from napari_diffseg.networks.config import UNetConfig
    from napari_diffseg.recipe import Recipe

OWN = "diffseg safetensors"
"""Kind of a checkpoint whose recipe came with its weights."""

BARE = "state dict"
"""Kind of a checkpoint whose recipe had to be put together."""

FAMILY = "family"
"""Line of a converted checkpoint's card: whose code its weights are of."""


def load_checkpoint(path: Path | str, **overrides: Any) -> Checkpoint:
    """Read a checkpoint: our own `.safetensors`, or the weights of a family that `checkpoint.families` knows.

    What a file is, its first bytes say, not its name. Nothing in it is run, sizes are checked before memory is taken,
    and checksums are verified where the format has them. Weights that come without a recipe get that of their family's
    own code or paper, as far as neither they nor the overrides say otherwise; `Checkpoint.guesses` has a line for each
    such setting.

    Parameters
    ----------
    path : path
        The file, the folder of a diffusers model or pipeline, or the word `demo` for the shipped checkpoint.
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
        raise BadCheckpoint(f"{shown_name(path)}: {err}", *err.remedies) from err


def _load(path: Path, overrides: Mapping[str, Any]) -> Checkpoint:
    source = find_source(path)
    data = read_source(source.weights)
    if data.startswith(MAGIC):
        file = open_torch_zip(data)
    elif is_safetensors(data):
        file = open_safetensors(data)
    else:
        refuse_other_format(data)
    metadata = None if file.metadata is None else parse_metadata(file.metadata)
    opened = _bare(path, file, source.sidecar, overrides) if metadata is None else _own(metadata, file, overrides)
    check_shapes(opened.shapes(file), opened.config)
    state = opened.state(file)
    check_finite(state)
    return Checkpoint(
        path=path,
        recipe=opened.recipe,
        config=opened.config,
        state=state,
        digest=source.digest(data),
        kind=BARE if metadata is None else OWN,
        family=opened.family,
        guesses=opened.guesses,
        card={} if metadata is None else metadata.card,
        overrides=_as_taken(overrides, opened.config, opened.recipe),
    )


@dataclass(frozen=True, slots=True)
class _Opened:
    """A file of weights, understood but not read.

    Attributes
    ----------
    config, recipe, guesses, family :
        As in `Checkpoint`.
    names : mapping of str to str
        The family's names of the tensors to those in the file.
    translate : callable
        From the family's tensors to ours.
    """

    config: UNetConfig
    recipe: Recipe
    guesses: tuple[str, ...]
    family: str
    names: Mapping[str, str]
    translate: Translate

    def shapes(self, file: WeightsFile) -> dict[str, tuple[int, ...]]:
        """Our names and shapes, before anything is read."""
        if self.translate is as_they_are:
            return {own: file.shapes[name] for own, name in self.names.items()}
        try:
            with torch.device("meta"):
                blank = {own: torch.empty(file.shapes[name]) for own, name in self.names.items()}
            return {name: tuple(tensor.shape) for name, tensor in self.translate(blank).items()}
        except (RuntimeError, IndexError) as err:
            raise BadCheckpoint(f"it is {self.family}, but its tensors do not fit each other: it is damaged.") from err

    def state(self, file: WeightsFile) -> dict[str, torch.Tensor]:
        """Our state dict."""
        read = file.read(list(self.names.values()))
        return self.translate({own: read[name] for own, name in self.names.items()})


def _as_taken(overrides: Mapping[str, Any], config: UNetConfig, recipe: Recipe) -> dict[str, Any]:
    """What the overrides were taken to mean, as values that JSON can hold."""
    values = config.to_dict() | recipe.model_dump(mode="json")
    return {name: values[name] for name in overrides}


def _own(metadata: Metadata, file: WeightsFile, overrides: Mapping[str, Any]) -> _Opened:
    config, recipe, guesses = metadata.network, metadata.recipe, metadata.guesses
    try:
        check_recipe(recipe, config)
    except BadRecipe as err:
        raise BadCheckpoint(f"its recipe does not fit its network: {err}") from err
    if overrides:
        config = override_network(config, overrides)
        recipe = make_recipe(recipe.model_dump() | _of_recipe(overrides))
        check_recipe(recipe, config)
        guesses = still_guessed(guesses, overrides)
    names = {name: name for name in file.shapes}
    return _Opened(config, recipe, guesses, metadata.card.get(FAMILY, "napari-diffseg"), names, as_they_are)


def _bare(path: Path, file: WeightsFile, sidecar: Sidecar, overrides: Mapping[str, Any]) -> _Opened:
    found = recognise(file.shapes)
    family = found.family
    assert family.read is not None  # one without is refused before
    try:
        imported = family.read({own: file.shapes[name] for own, name in found.names.items()}, sidecar)
        config = override_network(imported.config, overrides)
        recipe, guesses = guessed_recipe(imported, config, _of_recipe(overrides), path)
    except BadCheckpoint as err:
        raise BadCheckpoint(f"it is {family.name}, but {err}", *err.remedies) from err
    notes = (*file.notes, *found.notes, *imported.notes)
    guesses = (*notes, *still_guessed(imported.guesses, overrides), *guesses)
    return _Opened(config, recipe, guesses, family.name, found.names, imported.translate)


def _of_recipe(overrides: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in overrides.items() if name not in NETWORK_OVERRIDES}
