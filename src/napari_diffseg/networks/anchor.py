"""The second network of MedSegDiff, which looks at the images alone and tells the first where to look."""

from __future__ import annotations

import itertools

import torch
from torch import nn
from torch.nn import functional

from napari_diffseg.networks.config import POOLINGS

_MOST = 15


class AnchorNet(nn.Module):
    """A U-Net whose features at a half and a quarter of the resolution are added to the first convolution of another.

    They depend neither on the timestep nor on the noisy mask. Names are those of `hwm` in MedSegDiff, version "new".
    What only its training uses (the last stage of the way up and the coarse mask) is not there.

    Parameters
    ----------
    in_channels : int
        Channels of the images.
    out_channels : int
        Channels of the features, a multiple of 4.

    References
    ----------
    Wu et al. 2023, arXiv:2301.11798 (MedSegDiff-V2), the anchor condition.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        base = out_channels // 4
        widths = [min(base << level, _MOST * base) for level in range(POOLINGS + 1)]
        context: list[nn.Module] = []
        channels = in_channels
        for width in widths[:-1]:
            context.append(_Stack(channels, width, width))
            channels = width
        bottom = widths[POOLINGS - 1]
        context.append(nn.Sequential(_Stack(channels, widths[-1]), _Stack(widths[-1], bottom)))
        self.conv_blocks_context = nn.ModuleList(context)
        up: list[nn.Module] = []
        for level in range(POOLINGS - 1, 0, -1):
            own, below = widths[level], widths[level - 1]
            up.append(nn.Sequential(_Stack(2 * own, own), _Stack(own, below)))
        self.conv_blocks_localization = nn.ModuleList(up)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """From images (B, I, H, W) to features (B, out_channels, H, W), float32; H and W are multiples of 32."""
        x, skips = image, []
        for block in self.conv_blocks_context[:-1]:
            x = block(x)
            skips.append(x)
            x = functional.max_pool2d(x, 2)
        x = self.conv_blocks_context[-1](x)
        found = []
        for block in self.conv_blocks_localization:
            x = block(torch.cat([_larger(x, 2), skips.pop()], dim=1))
            found.append(x)
        half, quarter = _larger(found[-1], 2), _larger(found[-2], 4)
        return torch.cat([half, half, quarter], dim=1)


class _Stack(nn.Module):
    """Convolutions one after the other."""

    def __init__(self, *channels: int) -> None:
        super().__init__()
        pairs = itertools.pairwise(channels)
        self.blocks = nn.Sequential(*(_Conv(before, after) for before, after in pairs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.blocks(x)
        return out


class _Conv(nn.Module):
    """A convolution, normalised by the statistics of the training; `instnorm` is the name it has there."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.instnorm = _BatchNorm(out_channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.leaky_relu(self.instnorm(self.conv(x)), 0.01)


class _BatchNorm(nn.Module):
    """Batch normalisation as it is used after a training: by the statistics found there, without a count of batches."""

    running_mean: torch.Tensor
    running_var: torch.Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias)


def _larger(x: torch.Tensor, factor: int) -> torch.Tensor:
    """Features (B, C, H, W) at `factor` times the resolution."""
    return functional.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)
