"""The same U-Net under the names of another library."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch

from napari_diffseg.errors import BadCheckpoint

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from napari_diffseg.checkpoint.families.family import Shapes

_MAX_LEVELS = 8
_MAX_BLOCKS = 16


@dataclass(frozen=True, slots=True)
class Names:
    """What a library calls the parts of the network.

    Attributes
    ----------
    stem, head_norm, head : str
        The first convolution; the last normalisation and convolution.
    time : (str, str)
        The two layers of the time embedding.
    residual : mapping of str to str
        Our name of a part of a residual block to theirs.
    attention : (str, str)
        The normalisation, and the last layer.
    queries_keys_values : (str, str, str)
        The three layers that we hold as one.
    joined : str
        The name of that one where they hold it so, too; empty where they never do.
    middle : (str, str, str)
        Residual block, attention, residual block.
    down, up : str
        What changes the resolution at the end of a level.
    down_conv, up_conv : str
        The convolution in it.
    """

    stem: str
    head_norm: str
    head: str
    time: tuple[str, str]
    residual: Mapping[str, str]
    attention: tuple[str, str]
    queries_keys_values: tuple[str, str, str]
    middle: tuple[str, str, str]
    down: str
    down_conv: str
    up: str
    up_conv: str
    joined: str = ""


def residual_names(conv: str, skip: str) -> dict[str, str]:
    """Our parts of a residual block to theirs, where a convolution's name ends in `conv`."""
    return {
        "in_layers.0": "norm1",
        "in_layers.2": f"conv1{conv}",
        "emb_layers.1": "time_emb_proj",
        "out_layers.0": "norm2",
        "out_layers.3": f"conv2{conv}",
        "skip_connection": skip,
    }


@dataclass(frozen=True)
class Layout:
    """A network of another library, read off the names and shapes of its tensors.

    Attributes
    ----------
    names : Names
        What the library calls its parts.
    shapes : mapping
        Of every tensor.
    """

    names: Names
    shapes: Shapes

    @cached_property
    def levels(self) -> int:
        """Resolutions."""
        return _count(self.shapes, r"down_blocks\.(\d+)\.", most=_MAX_LEVELS, what="levels")

    @cached_property
    def blocks(self) -> int:
        """Residual blocks on a level, on the way down.

        Raises
        ------
        BadCheckpoint
            If levels differ.
        """
        counts = [self._residuals(f"down_blocks.{level}") for level in range(self.levels)]
        ups = [self._residuals(f"up_blocks.{level}") for level in range(self.levels)]
        if len(set(counts)) != 1 or set(ups) != {counts[0] + 1}:
            raise BadCheckpoint(
                f"its levels have {', '.join(map(str, counts))} residual blocks on the way down and "
                f"{', '.join(map(str, ups))} on the way up, where every level needs the same number here: it cannot be "
                "used."
            )
        return counts[0]

    @cached_property
    def channels(self) -> tuple[int, ...]:
        """Of each level, full resolution first."""
        part = self.names.residual["out_layers.3"]
        return tuple(self.shape(f"down_blocks.{i}.resnets.0.{part}.weight")[0] for i in range(self.levels))

    @cached_property
    def attention_factors(self) -> tuple[int, ...]:
        """Downsampling factors of the levels that have attention on either way."""
        down = {i for i in range(self.levels) if self._has(f"down_blocks.{i}.attentions.")}
        up = {self.levels - 1 - i for i in range(self.levels) if self._has(f"up_blocks.{i}.attentions.")}
        return tuple(1 << level for level in sorted(down | up))

    @cached_property
    def resamples_by_blocks(self) -> bool:
        """Whether residual blocks change the resolution, and not convolutions.

        Raises
        ------
        BadCheckpoint
            If some do.
        """
        kinds = {
            self._has(f"{way}_blocks.{i}.{change}.{self.names.residual['in_layers.0']}.")
            for way, change in (("down", self.names.down), ("up", self.names.up))
            for i in range(self.levels - 1)
        }
        if len(kinds) > 1:
            raise BadCheckpoint("some of its levels change the resolution by residual blocks and some by convolutions.")
        return kinds == {True}

    @property
    def embeds_by_scale_and_shift(self) -> bool:
        """Whether the time scales and shifts the second normalisation."""
        block, part = self.names.middle[0], self.names.residual
        told = self.shape(f"{block}.{part['emb_layers.1']}.weight")[0]
        return told == 2 * self.shape(f"{block}.{part['in_layers.2']}.weight")[0]

    def shape(self, name: str) -> tuple[int, ...]:
        """Of a tensor.

        Raises
        ------
        BadCheckpoint
            If it is missing, or has no elements.
        """
        if name not in self.shapes or not self.shapes[name] or 0 in self.shapes[name]:
            raise BadCheckpoint(f"tensor {name} is missing: the file is cut short, or another network's.")
        return self.shapes[name]

    def translate(self, state: Mapping[str, torch.Tensor], *, swap_time: bool = False) -> dict[str, torch.Tensor]:
        """Their tensors under our names, joined and shaped as ours are.

        Parameters
        ----------
        state : mapping of str to Tensor
            All of the network's tensors, on any device.
        swap_time : bool
            Whether their time embedding has its sines first; the layer after it is changed to take ours.

        Raises
        ------
        BadCheckpoint
            If tensors are missing or left over.
        """
        left = dict(state)
        ours: dict[str, torch.Tensor] = {}
        for kind, own, their in self._parts():
            match kind:
                case "residual":
                    for part, name in self.names.residual.items():
                        _move(left, ours, f"{their}.{name}", f"{own}.{part}", may_lack=part == "skip_connection")
                case "attention":
                    self._join(left, ours, their, own)
                case _:
                    _move(left, ours, their, own)
        if left:
            some = ", ".join(sorted(left)[:3])
            raise BadCheckpoint(f"it holds {len(left)} tensors that such a network does not have ({some}).")
        if swap_time:
            weight = ours["time_embed.0.weight"]
            ours["time_embed.0.weight"] = torch.cat(weight.chunk(2, dim=1)[::-1], dim=1)
        return ours

    def _parts(self) -> Iterator[tuple[str, str, str]]:
        """Each part: its kind, our name, theirs."""
        n = self.names
        yield from (
            ("plain", "time_embed.0", n.time[0]),
            ("plain", "time_embed.2", n.time[1]),
            ("plain", "input_blocks.0.0", n.stem),
            ("residual", "middle_block.0", n.middle[0]),
            ("attention", "middle_block.1", n.middle[1]),
            ("residual", "middle_block.2", n.middle[2]),
            ("plain", "out.0", n.head_norm),
            ("plain", "out.2", n.head),
        )
        place = 1
        for level in range(self.levels):
            for r in range(self.blocks):
                yield from self._block(f"input_blocks.{place}", f"down_blocks.{level}", r, level)
                place += 1
            if level < self.levels - 1:
                yield self._resampling(f"input_blocks.{place}.0", "op", f"down_blocks.{level}.{n.down}", n.down_conv)
                place += 1
        for i in range(self.levels):
            level = self.levels - 1 - i
            for r in range(self.blocks + 1):
                place = i * (self.blocks + 1) + r
                yield from self._block(f"output_blocks.{place}", f"up_blocks.{i}", r, level)
            if level > 0:
                layer = 2 if 1 << level in self.attention_factors else 1
                yield self._resampling(f"output_blocks.{place}.{layer}", "conv", f"up_blocks.{i}.{n.up}", n.up_conv)

    def _block(self, own: str, their: str, r: int, level: int) -> Iterator[tuple[str, str, str]]:
        yield "residual", f"{own}.0", f"{their}.resnets.{r}"
        if 1 << level in self.attention_factors:
            yield "attention", f"{own}.1", f"{their}.attentions.{r}"

    def _resampling(self, own: str, part: str, their: str, conv: str) -> tuple[str, str, str]:
        if self.resamples_by_blocks:
            return "residual", own, their
        return "plain", f"{own}.{part}", f"{their}.{conv}"

    def _join(self, left: dict[str, torch.Tensor], ours: dict[str, torch.Tensor], their: str, own: str) -> None:
        """Attention: queries, keys and values as one layer, in the new order."""
        norm, last = self.names.attention
        if not self._has(f"{their}."):
            _add_idle_attention(ours, own)
            return
        _move(left, ours, f"{their}.{norm}", f"{own}.norm")
        parts = (
            (f"{their}.{self.names.joined}",)
            if f"{their}.{self.names.joined}.weight" in left
            else tuple(f"{their}.{part}" for part in self.names.queries_keys_values)
        )
        weights = [_take(left, f"{part}.weight").flatten(1) for part in parts]
        biases = [left.pop(f"{part}.bias", w.new_zeros(len(w))) for part, w in zip(parts, weights, strict=True)]
        ours[f"{own}.qkv.weight"] = torch.cat(weights)[:, :, None]
        ours[f"{own}.qkv.bias"] = torch.cat(biases)
        if f"{their}.{last}.weight" not in left:  # attention without a last layer
            channels = weights[0].shape[1]
            ours[f"{own}.proj_out.weight"] = torch.eye(channels, dtype=weights[0].dtype, device=weights[0].device)[
                :, :, None
            ]
            ours[f"{own}.proj_out.bias"] = weights[0].new_zeros(channels)
            return
        _move(left, ours, f"{their}.{last}", f"{own}.proj_out")
        ours[f"{own}.proj_out.weight"] = ours[f"{own}.proj_out.weight"].flatten(1)[:, :, None]

    def _residuals(self, block: str) -> int:
        return _count(self.shapes, rf"{re.escape(block)}\.resnets\.(\d+)\.", most=_MAX_BLOCKS, what="blocks a level")

    def _has(self, beginning: str) -> bool:
        return any(name.startswith(beginning) for name in self.shapes)


def _count(shapes: Shapes, pattern: str, *, most: int, what: str) -> int:
    """How many numbers, from 0 without a gap, the names have at a place."""
    found = {int(m[1]) for name in shapes if (m := re.match(pattern, name)) and len(m[1]) < 5}
    if not found or found != set(range(len(found))) or len(found) > most:
        raise BadCheckpoint(f"its {what} cannot be counted: tensors are missing, or it is another network's file.")
    return len(found)


def _take(left: dict[str, torch.Tensor], name: str) -> torch.Tensor:
    if name not in left:
        raise BadCheckpoint(f"tensor {name} is missing: the file is cut short, or another network's.")
    return left.pop(name)


def _move(
    left: dict[str, torch.Tensor], ours: dict[str, torch.Tensor], their: str, own: str, *, may_lack: bool = False
) -> None:
    """A layer's weight and bias from one dict to the other."""
    if may_lack and f"{their}.weight" not in left:
        return
    ours[f"{own}.weight"] = _take(left, f"{their}.weight")
    ours[f"{own}.bias"] = _take(left, f"{their}.bias")


def _add_idle_attention(ours: dict[str, torch.Tensor], own: str) -> None:
    """Attention that adds nothing, where a level has it on one of its two ways alone."""
    block = own.rpartition(".")[0]
    like = ours[f"{block}.0.out_layers.3.weight"]
    channels = like.shape[0]
    ours[f"{own}.norm.weight"] = like.new_ones(channels)
    ours[f"{own}.norm.bias"] = like.new_zeros(channels)
    ours[f"{own}.qkv.weight"] = like.new_zeros(3 * channels, channels, 1)
    ours[f"{own}.qkv.bias"] = like.new_zeros(3 * channels)
    ours[f"{own}.proj_out.weight"] = like.new_zeros(channels, channels, 1)
    ours[f"{own}.proj_out.bias"] = like.new_zeros(channels)
