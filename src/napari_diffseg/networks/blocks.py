"""Residual blocks and changes of resolution."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from napari_diffseg.networks.layers import GroupNorm32, zeroed

if TYPE_CHECKING:
    from collections.abc import Callable


class Downsample(nn.Module):
    """Halve rows and columns, by a strided convolution (`op`) or by averaging.

    Parameters
    ----------
    channels : int
        Channels in and out.
    conv : bool
        Whether to convolve.
    """

    def __init__(self, channels: int, *, conv: bool) -> None:
        super().__init__()
        self.op = nn.Conv2d(channels, channels, 3, stride=2, padding=1) if conv else nn.AvgPool2d(2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """From (B, C, H, W) to (B, C, H / 2, W / 2)."""
        out: torch.Tensor = self.op(x)
        return out


class Upsample(nn.Module):
    """Double rows and columns by repetition, with or without a convolution (`conv`) after.

    Parameters
    ----------
    channels : int
        Channels in and out.
    conv : bool
        Whether to convolve.
    """

    def __init__(self, channels: int, *, conv: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1) if conv else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """From (B, C, H, W) to (B, C, 2 H, 2 W)."""
        out: torch.Tensor = self.conv(functional.interpolate(x, scale_factor=2, mode="nearest"))
        return out


class ResBlock(nn.Module):
    """Two normalised convolutions, told the timestep between them, added to the input.

    Parameters
    ----------
    in_channels, out_channels : int
        Multiples of the normalisation's groups.
    embedding : int
        Length of the time embedding.
    film : bool
        Whether the embedding scales and shifts the second normalisation, rather than being added before it.
    dropout : float
        Probability, in training only.
    resample : Module, optional
        A change of resolution without weights, done in both branches.
    norm : callable
        Makes the normalisation of so many channels.

    References
    ----------
    Dhariwal & Nichol 2021, arXiv:2105.05233, section 3.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        embedding: int,
        film: bool,
        dropout: float,
        resample: nn.Module | None = None,
        norm: Callable[[int], GroupNorm32] = GroupNorm32,
    ) -> None:
        super().__init__()
        self.film = film
        self.in_layers = nn.Sequential(norm(in_channels), nn.SiLU(), nn.Conv2d(in_channels, out_channels, 3, padding=1))
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(embedding, out_channels * (2 if film else 1)))
        self.out_layers = nn.Sequential(
            norm(out_channels),
            nn.SiLU(),
            nn.Dropout(dropout),
            zeroed(nn.Conv2d(out_channels, out_channels, 3, padding=1)),
        )
        self.skip_connection = nn.Identity() if in_channels == out_channels else nn.Conv2d(in_channels, out_channels, 1)
        self.resample = nn.Identity() if resample is None else resample

    def forward(self, x: torch.Tensor, emb: torch.Tensor) -> torch.Tensor:
        """From x (B, in, H, W) and emb (B, embedding) to (B, out, H', W')."""
        norm, act, conv = self.in_layers
        h = conv(self.resample(act(norm(x))))
        told = self.emb_layers(emb)[:, :, None, None]
        norm, act, drop, conv = self.out_layers
        if self.film:
            scale, shift = told.chunk(2, dim=1)
            h = norm(h) * (1 + scale) + shift
        else:
            h = norm(h + told)
        out: torch.Tensor = self.skip_connection(self.resample(x)) + conv(drop(act(h)))
        return out
