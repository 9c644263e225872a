"""The configuration of a network, read off the names and shapes of its weights; needs no torch."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_diffseg.errors import BadCheckpoint, BadRecipe
from napari_diffseg.networks.config import UNetConfig

if TYPE_CHECKING:
    from collections.abc import Mapping

_INPUT_CONV = "input_blocks.0.0.weight"
_OUTPUT_CONV = "out.2.weight"
_TIME = "time_embed.0.weight"
_MIDDLE_CONV = "middle_block.0.in_layers.2.weight"
_MIDDLE_TIME = "middle_block.0.emb_layers.1.weight"
_MIDDLE_ATTENTION = "middle_block.1.qkv.weight"
_RANKS = {_TIME: 2, _INPUT_CONV: 4, _MIDDLE_CONV: 4, _MIDDLE_TIME: 2, _MIDDLE_ATTENTION: 3, _OUTPUT_CONV: 4}
_UP = re.compile(r"output_blocks\.(\d{1,4})\.[12]\.(conv|in_layers\.2)\.weight")
_DOWN = re.compile(r"input_blocks\.(\d{1,4})\.")
_GUESSES = (
    "num_heads = 1 (the paper's; not stored in a state dict)",
    "new_attention_order = False (the paper's; not stored in a state dict, and the same where there is one head)",
)
_MAX_BLOCKS = 256


@dataclass(frozen=True, slots=True)
class InferredConfig:
    """What a file of weights says of its network, and what had to be guessed.

    Attributes
    ----------
    config : UNetConfig
        Fits the weights; change what was guessed with `dataclasses.replace`.
    guesses : tuple of str
        One readable line for each setting that leaves no trace in the weights and changes the output.
    """

    config: UNetConfig
    guesses: tuple[str, ...]


def infer_config(shapes: Mapping[str, tuple[int, ...]]) -> InferredConfig:
    """The network that a state dict belongs to.

    Parameters
    ----------
    shapes : mapping
        Name to shape of every tensor of the state dict, without a prefix such as "module.".

    Raises
    ------
    BadCheckpoint
        If they are not those of a 2-D U-Net of the guided-diffusion family without classes.
    """
    _check_family(shapes)
    blocks, per_level, resblock_updown, conv_resample = _plan(shapes)
    levels = blocks // per_level
    model_channels = shapes[_TIME][1]
    first_blocks = [level * per_level + 1 for level in range(levels)]
    try:
        config = UNetConfig(
            in_channels=shapes[_INPUT_CONV][1],
            model_channels=model_channels,
            out_channels=shapes[_OUTPUT_CONV][0],
            num_res_blocks=per_level - 1,
            attention_factors=tuple(
                1 << level for level, i in enumerate(first_blocks) if f"input_blocks.{i}.1.qkv.weight" in shapes
            ),
            channel_mult=tuple(_channel_mult(shapes, i, model_channels) for i in first_blocks),
            scale_shift_norm=shapes[_MIDDLE_TIME][0] == 2 * shapes[_MIDDLE_CONV][0],
            resblock_updown=resblock_updown,
            conv_resample=conv_resample,
        )
    except BadRecipe as err:
        raise BadCheckpoint(f"The weights are not of a network that can be built here: {err}") from err
    return InferredConfig(config, _GUESSES)


def _check_family(shapes: Mapping[str, tuple[int, ...]]) -> None:
    for name, rank in _RANKS.items():
        if name not in shapes:
            raise _not_this_family(f"{name} is missing")
        if len(shapes[name]) != rank or 0 in shapes[name]:
            raise _not_this_family(f"{name} has the shape {shapes[name]}, where {rank} dimensions were expected")
    if "label_emb.weight" in shapes:
        raise _not_this_family("label_emb.weight says that it was trained with classes, which are not supported")


def _plan(shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, int, bool, bool]:
    """Input blocks, input blocks a level (with the change of resolution), resblock_updown, conv_resample.

    Both ways have (residual blocks + 1) blocks a level. The way up changes its resolution first after one level's
    blocks. Pooling has no weights at all: it is a gap in the numbers of the way down.
    """
    seen = {int(m[1]) for name in shapes if (m := _DOWN.match(name))}
    blocks = max(seen) + 1
    if blocks > _MAX_BLOCKS:
        raise _not_this_family(f"it has {blocks} input blocks, where {_MAX_BLOCKS} are the most")
    ups = sorted((int(m[1]), m[2]) for name in shapes if (m := _UP.fullmatch(name)))
    gaps = sorted(set(range(blocks)) - seen)
    if ups:
        per_level, resblock_updown, conv_resample = ups[0][0] + 1, ups[0][1] != "conv", True
    elif gaps:
        per_level, resblock_updown, conv_resample = gaps[0], False, False
    else:
        per_level, resblock_updown, conv_resample = blocks, False, True
    if per_level < 2 or blocks % per_level:
        raise _not_this_family(f"its {blocks} input blocks do not make levels of {per_level}")
    return blocks, per_level, resblock_updown, conv_resample


def _channel_mult(shapes: Mapping[str, tuple[int, ...]], block: int, model_channels: int) -> int | float:
    name = f"input_blocks.{block}.0.in_layers.2.weight"
    if name not in shapes:
        raise _not_this_family(f"{name} is missing")
    return channel_multiplier(shapes[name][0], model_channels)


def channel_multiplier(channels: int, model_channels: int) -> int | float:
    """What `model_channels` is multiplied with, and rounded down, to give a level's channels; whole where it can be."""
    factor, rest = divmod(channels, model_channels)
    if not rest:
        return factor
    exact = channels / model_channels
    if int(exact * model_channels) == channels:
        return exact
    return math.nextafter(exact, math.inf)


def _not_this_family(reason: str) -> BadCheckpoint:
    return BadCheckpoint(
        f"The weights are not those of a U-Net of the guided-diffusion family: {reason}: choose another file."
    )
