"""A 3 x 3 convolution to very few channels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from torch import nn


class TappedConv:
    """What a `Conv2d` of 3 x 3 computes, as one matrix product for its nine taps and their sum, shifted.

    A processor's convolution computes sixteen channels at once, of which a network's last one uses one or two. Rows go
    one after the other, so that a row's sums are the same in any batch.

    Parameters
    ----------
    conv : Conv2d
        3 x 3, padding 1; is left as it is.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        assert conv.bias is not None  # the family's convolutions all have one
        channels = conv.in_channels
        # `fold` puts tap (i, j) of a pixel where a convolution would look for tap (2 - i, 2 - j).
        self._taps = conv.weight.detach().flip(2, 3).permute(0, 2, 3, 1).reshape(-1, channels).contiguous()
        self._bias = conv.bias.detach()[:, None, None]

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """From x (B, in, H, W), channels-last, to (B, out, H, W)."""
        taps = [self._taps @ row.flatten(1) for row in x]
        return torch.stack([functional.fold(t, x.shape[2:], 3, padding=1) for t in taps]) + self._bias
