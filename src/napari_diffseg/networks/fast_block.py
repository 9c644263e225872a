"""The residual block as samplers use it: one timestep for all rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import torch
from torch import nn
from torch.nn import functional

from napari_diffseg.networks.layers import GroupNorm32
from napari_diffseg.networks.norm_silu import norm_silu
from napari_diffseg.networks.packed_conv import PackedConv

if TYPE_CHECKING:
    from napari_diffseg.networks.blocks import ResBlock

M = TypeVar("M", bound=nn.Module)


class FastResBlock:
    """What a `ResBlock` computes, with the time embedding folded into what it does anyway.

    All rows of a batch are at one timestep. So where the embedding scales and shifts a normalisation (FiLM) the two
    make another weight and bias of it, and where it is added to a convolution's output it is part of its bias.

    Parameters
    ----------
    block : ResBlock
        In evaluation; its weights must not change afterwards.
    """

    def __init__(self, block: ResBlock) -> None:
        self._block = block
        self._first, self._second = expect(GroupNorm32, block.in_layers[0]), expect(GroupNorm32, block.out_layers[0])
        conv_in, skip = expect(nn.Conv2d, block.in_layers[2]), block.skip_connection
        assert conv_in.bias is not None  # the family's convolutions all have one
        self._bias_in = conv_in.bias
        self._conv_in, self._conv_out = PackedConv.of(conv_in), PackedConv.of(expect(nn.Conv2d, block.out_layers[3]))
        self._skip = PackedConv.of(skip) if isinstance(skip, nn.Conv2d) else None
        self._embed = expect(nn.Linear, block.emb_layers[1])
        self.told_length = self._second.num_channels * (2 if block.film else 1)
        """Numbers that `tell` gives."""

    def tell(self, emb: torch.Tensor) -> torch.Tensor:
        """What a time embedding (1, embedding), float32, means here, (told_length,), float32, for `__call__`."""
        told = functional.linear(functional.silu(emb), self._embed.weight.float(), self._embed.bias.float())[0]
        if not self._block.film:
            return self._bias_in.float() + told
        scale, shift = told.chunk(2)
        weight, bias = self._second.weight.float(), self._second.bias.float()
        return torch.cat([weight * (1 + scale), bias * (1 + scale) + shift])

    def __call__(self, x: torch.Tensor, told: torch.Tensor) -> torch.Tensor:
        """From x (B, in, H, W), channels-last, to (B, out, H', W')."""
        first, second = self._first, self._second
        h = self._block.resample(norm_silu(x, first.weight, first.bias, eps=first.eps, groups=first.num_groups))
        if self._block.film:
            weight, bias = told.chunk(2)
            h = norm_silu(self._conv_in(h), weight, bias, eps=second.eps, groups=second.num_groups)
        else:
            h = self._conv_in(h, told.to(h.dtype))
            h = norm_silu(h, second.weight, second.bias, eps=second.eps, groups=second.num_groups)
        kept = self._block.resample(x)
        if self._skip is not None:
            return self._conv_out.add_to(self._skip(kept), h)
        if not self._conv_out.packs:
            return self._conv_out(h).add_(kept)
        return self._conv_out.add_to(kept.clone() if kept is x else kept, h)


def expect(kind: type[M], module: nn.Module) -> M:
    """The module, which is known to be of this kind."""
    assert isinstance(module, kind)  # the family's layers have fixed places
    return module
