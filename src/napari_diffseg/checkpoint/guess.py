"""A recipe for weights that come without one: read off the network, told by the user, or the paper's."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from napari_diffseg.checkpoint.fit import check_recipe
from napari_diffseg.errors import BadCheckpoint, BadRecipe
from napari_diffseg.recipe import PAPER, Recipe, make_recipe

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from napari_diffseg.networks.config import UNetConfig

NETWORK_OVERRIDES = ("num_heads", "num_head_channels", "new_attention_order")
"""Fields of `UNetConfig` that leave no trace in the weights, so that a user may have to say them."""

_WHY = {
    "modalities": "the original's order",
    "labels": "the paper's",
    "normalisation": "as in the original's example data",
    "percentile": "the paper cuts the top one percent, and its example data show it; the guess was 99.5 before",
    "mask_low": "the original's encoding",
    "mask_high": "the original's encoding",
    "clip": "the original's",
    "schedule": "the original's default",
    "train_timesteps": "the original's default",
    "rescale_timesteps": "the original's default",
    "prediction": "the original's default",
    "axis_codes": "as in the original's example data",
    "size": "the original's",
    "spacing_mm": "the original does not resample",
    "centre": "the original's",
    "sampler": "the paper's; a run may use another",
    "timesteps": "the paper's; a run may use others",
}
_NOT_EMA = re.compile(r"(savedmodel|model)\d+")


def guessed_recipe(config: UNetConfig, overrides: Mapping[str, Any], path: Path) -> tuple[Recipe, tuple[str, ...]]:
    """The recipe of bare weights.

    Parameters
    ----------
    config : UNetConfig
        Of their network.
    overrides : mapping
        Fields of the recipe that the user states.
    path : Path
        The file; its name becomes the title, and may say that these are not the averaged weights.

    Returns
    -------
    recipe : Recipe
        With `guesses`, one readable line each for what neither the weights nor the user said.
    guesses : tuple of str
        See above.

    Raises
    ------
    BadCheckpoint
        If the number of channels is not the paper's and the user does not name them.
    BadRecipe
        If an override is refused or contradicts the network.
    """
    values: dict[str, Any] = {name: getattr(PAPER, name) for name in _WHY}
    values |= {"title": _title(path), **_channels(config, overrides)}
    guessed = dict(_WHY)
    learned = config.out_channels == 2 * len(_listed(overrides.get("labels", values["labels"])))
    values["variance"] = "learned_range" if learned else "fixed_large"
    if not learned:
        guessed["variance"] = "the original's where it is not learned"
    total = overrides.get("train_timesteps")
    if isinstance(total, (int, str)) and str(total).isdigit():
        values["timesteps"] = min(values["timesteps"], int(total))
    recipe = make_recipe(values | dict(overrides))
    check_recipe(recipe, config)
    if recipe.normalisation != "percentile":
        del guessed["percentile"]
    lines = [f"{name} = {_plain(getattr(recipe, name))} ({why})" for name, why in guessed.items()]
    return recipe, (*still_guessed(lines, overrides), *_file_name_notes(path))


def override_network(config: UNetConfig, overrides: Mapping[str, Any]) -> UNetConfig:
    """The configuration with what the user says of its attention.

    Raises
    ------
    BadRecipe
        If a value is refused.
    """
    given = {name: overrides[name] for name in NETWORK_OVERRIDES if name in overrides}
    if isinstance(order := given.get("new_attention_order"), str):
        given["new_attention_order"] = {"true": True, "false": False}.get(order.lower(), order)
    if "num_heads" in given and "num_head_channels" not in given:
        given["num_head_channels"] = None  # it would win over the number that was asked for
    return replace(config, **given)


def still_guessed(guesses: Iterable[str], overrides: Mapping[str, Any]) -> tuple[str, ...]:
    """The guesses that no override has settled; a head's channels settle the number of heads."""
    settled = set(overrides) | ({"num_heads"} if "num_head_channels" in overrides else set())
    return tuple(line for line in guesses if line.partition(" = ")[0] not in settled)


def _channels(config: UNetConfig, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Modalities and labels that fill the network's channels, as far as they need not be named."""
    labels = _listed(overrides.get("labels", PAPER.labels))
    modalities = _listed(overrides.get("modalities", PAPER.modalities))
    if len(labels) + len(modalities) == config.in_channels or {"labels", "modalities"} <= set(overrides):
        return {"labels": labels, "modalities": modalities}
    images = config.in_channels - len(labels)
    if "modalities" in overrides:
        raise BadCheckpoint(
            f"its network takes {config.in_channels} channels, {len(modalities)} of them modalities: name the other "
            f"{config.in_channels - len(modalities)}, the mask's, e.g. `--labels core,whole`."
        )
    raise BadCheckpoint(
        f"its network takes {images} image channels and {len(labels)} for the mask, and the file does not say which: "
        "name the modalities in their order, e.g. `--modalities t1,flair`."
    )


def _listed(value: Any) -> tuple[Any, ...]:
    if isinstance(value, (list, tuple)):
        return tuple(value)
    raise BadRecipe(f"Recipe: modalities and labels are lists of names, but {value!r} was given: give a list.")


def _title(path: Path) -> str:
    return "".join(c for c in path.stem if c.isprintable())[:200]


def _file_name_notes(path: Path) -> tuple[str, ...]:
    if not _NOT_EMA.fullmatch(path.stem):
        return ()
    return ("this is not the EMA file: the averaged weights, `ema...` beside it, usually segment better",)


def _plain(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(_plain(v) for v in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
