"""Self-attention over the pixels of a feature map."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from napari_diffseg.networks.layers import GroupNorm32, zeroed

if TYPE_CHECKING:
    from collections.abc import Callable


class AttentionBlock(nn.Module):
    """Every pixel attends to every other; added to its input.

    Parameters
    ----------
    channels : int
        Channels in and out.
    heads : int
        Must divide `channels`.
    new_order : bool
        Which of the family's two layouts the 3 * channels outputs of `qkv` have: (q, k, v) of all heads one after
        another (new), or one head's q, k and v next to each other (legacy). Names and shapes of the weights are the
        same, so a checkpoint does not tell.
    norm : callable
        Makes the normalisation of so many channels.

    References
    ----------
    Ho et al. 2020, arXiv:2006.11239, appendix B; Vaswani et al. 2017, arXiv:1706.03762.
    """

    def __init__(
        self, channels: int, heads: int, *, new_order: bool, norm: Callable[[int], GroupNorm32] = GroupNorm32
    ) -> None:
        super().__init__()
        self.heads = heads
        self.new_order = new_order
        self.norm = norm(channels)
        self.qkv = nn.Conv1d(channels, 3 * channels, 1)
        self.proj_out = zeroed(nn.Conv1d(channels, channels, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """From (B, C, H, W) to the same shape and dtype."""
        batch, channels, height, width = x.shape
        tokens = height * width
        qkv = self.qkv(self.norm(x).reshape(batch, channels, tokens))
        # To (3, B, heads, tokens, channels of a head).
        if self.new_order:
            parts = qkv.view(batch, 3, self.heads, -1, tokens).permute(1, 0, 2, 4, 3)
        else:
            parts = qkv.view(batch, self.heads, 3, -1, tokens).permute(2, 0, 1, 4, 3)
        if x.device.type != "cpu":
            parts = parts.contiguous()  # the fused kernels of GPUs want a head's channels side by side
        q, k, v = parts.unbind(0)
        attended = functional.scaled_dot_product_attention(q, k, v)
        attended = attended.transpose(-2, -1).reshape(batch, channels, tokens)
        out: torch.Tensor = x + self.proj_out(attended).view(batch, channels, height, width)
        return out
