"""A recipe for weights that come without one: read off the network, told by the user, or the paper's."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from napari_diffseg.checkpoint.fit import check_recipe
from napari_diffseg.errors import BadCheckpoint, BadRecipe, Remedy
from napari_diffseg.recipe import PAPER, Recipe, make_recipe

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from napari_diffseg.checkpoint.families import Imported
    from napari_diffseg.networks.config import UNetConfig

NETWORK_OVERRIDES = ("num_heads", "num_head_channels", "new_attention_order", "norm_groups", "norm_eps")
"""Fields of `UNetConfig` that leave no trace in the weights, so that a user may have to say them."""

_HEADS = {"num_heads", "num_head_channels"}
_NOT_EMA = re.compile(r"(savedmodel|model)\d+")


def guessed_recipe(
    imported: Imported, config: UNetConfig, overrides: Mapping[str, Any], path: Path
) -> tuple[Recipe, tuple[str, ...]]:
    """The recipe of bare weights.

    Parameters
    ----------
    imported : Imported
        What their family and the files beside them say.
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
        If the number of channels is not the family's usual and the user does not name them.
    BadRecipe
        If an override is refused or contradicts the network.
    """
    values: dict[str, Any] = {**imported.promises, "title": _title(path)}
    values |= _channels(config, imported.promises, overrides)
    guessed = dict(imported.reasons)
    learned = config.out_channels == 2 * len(_listed(overrides.get("labels", values["labels"])))
    if "variance" not in values or learned:
        values["variance"] = "learned_range" if learned else "fixed_large"
        guessed.pop("variance", None)
        if not learned:
            guessed["variance"] = "the original's where it is not learned"
    total = overrides.get("train_timesteps")
    if isinstance(total, (int, str)) and str(total).isdigit():
        values["timesteps"] = min(values["timesteps"], int(total))
    recipe = make_recipe(values | dict(overrides))
    check_recipe(recipe, config)
    if recipe.normalisation != "percentile":
        guessed.pop("percentile", None)
        guessed.pop("percentile_of", None)
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
    for name in ("norm_groups", "norm_eps"):
        if isinstance(text := given.get(name), str):
            given[name] = _number(text)
    return replace(config, **given)


def _number(text: str) -> object:
    """What a text says, as a number; the text itself where it is none, for the network to refuse."""
    try:
        return int(text) if text.isdigit() else float(text)
    except ValueError:
        return text


def still_guessed(guesses: Iterable[str], overrides: Mapping[str, Any]) -> tuple[str, ...]:
    """The guesses that no override has settled; a head's channels settle the number of heads, and the other way."""
    settled = set(overrides) | (_HEADS if _HEADS & set(overrides) else set())
    return tuple(line for line in guesses if line.partition(" = ")[0] not in settled)


def _channels(config: UNetConfig, promises: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Modalities and labels that fill the network's channels, as far as they need not be named."""
    labels = _listed(overrides.get("labels", promises.get("labels", PAPER.labels)))
    modalities = _listed(overrides.get("modalities", promises.get("modalities", ())))
    fits = bool(modalities) and len(labels) + len(modalities) == config.in_channels
    if fits or {"labels", "modalities"} <= set(overrides):
        return {"labels": labels, "modalities": modalities}
    images = config.in_channels - len(labels)
    if "modalities" in overrides:
        raise BadCheckpoint(
            f"its network takes {config.in_channels} channels, {len(modalities)} of them modalities: name the other "
            f"{config.in_channels - len(modalities)}, the mask's, in the recipe's labels.",
            Remedy("labels", "core,whole"),
        )
    if images < 1:
        raise BadCheckpoint(
            f"its network takes {config.in_channels} channel{'s' if config.in_channels > 1 else ''}, which the noisy "
            "mask fills: it has no image to segment, and draws from nothing."
        )
    raise BadCheckpoint(
        f"its network takes {images} image channels and {len(labels)} for the mask, and the file does not say which: "
        "name the modalities in their order.",
        Remedy("modalities", "t1,flair"),
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
