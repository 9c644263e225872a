"""Repetition of pixels and a 3 x 3 convolution, with four ninths of the work."""

from __future__ import annotations

import torch

from napari_diffseg.networks.packed_conv import PackedConv


class PhasedUpsample:
    """What `Upsample` with a convolution computes, on the pixels before they are repeated.

    A 3 x 3 window over repeated pixels covers 2 x 2 different ones, in one of four ways by whether row and column are
    even. So four kernels of 2 x 2, whose weights are sums of the nine, give the four phases of the result, up to the
    order of sums.

    Parameters
    ----------
    conv : Conv2d
        3 x 3, of channels C to C, padding 1; is left as it is.
    """

    def __init__(self, conv: torch.nn.Conv2d) -> None:
        weight, bias = conv.weight.detach(), conv.bias
        assert bias is not None  # the family's convolutions all have one
        phases = [_phase(_phase(weight.float(), 2, row), 3, column) for row in (0, 1) for column in (0, 1)]
        stacked = torch.cat(phases).to(weight.dtype, memory_format=torch.channels_last)
        self._conv = PackedConv(stacked, bias.detach().repeat(4))

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """From (B, C, H, W) to (B, C, 2 H, 2 W), channels-last."""
        batch, channels, height, width = x.shape
        # One more row and column than x has: an even phase begins a pixel before the odd one.
        phases = self._conv(x)
        size = (batch, channels, 2 * height, 2 * width)
        out = torch.empty(size, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
        for n, phase in enumerate(phases.chunk(4, dim=1)):
            row, column = divmod(n, 2)
            out[:, :, row::2, column::2] = phase[:, :, row : row + height, column : column + width]
        return out


def _phase(weight: torch.Tensor, axis: int, odd: int) -> torch.Tensor:
    """Three taps along an axis as two: an even pixel sees its neighbour before once and itself twice."""
    first, middle, last = weight.unbind(axis)
    return torch.stack([first + middle, last] if odd else [first, middle + last], dim=axis)
