"""The two layers that the family treats specially: normalisations, and the last convolution of a branch."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from napari_diffseg.networks.config import NORM_EPS, NORM_GROUPS


class GroupNorm32(nn.GroupNorm):
    """Group normalisation in float32 whatever its input is; the output has the input's dtype.

    Sums over thousands of pixels lose too much in half precision.

    Parameters
    ----------
    channels : int
        A multiple of `groups`.
    groups : int
        Channels are normalised in so many groups; 32 gave the class its name.
    eps : float
        Added to the variance.
    """

    def __init__(self, channels: int, *, groups: int = NORM_GROUPS, eps: float = NORM_EPS) -> None:
        super().__init__(groups, channels, eps=eps)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """From (B, C, ...) to the same shape and dtype."""
        weight, bias = self.weight.float(), self.bias.float()
        return functional.group_norm(x.float(), self.num_groups, weight, bias, self.eps).to(x.dtype)


def zeroed(conv: nn.Conv1d | nn.Conv2d) -> nn.Conv1d | nn.Conv2d:
    """The convolution with its weights set to zero, so that a new block begins as the identity."""
    for parameter in conv.parameters():
        nn.init.zeros_(parameter)
    return conv
