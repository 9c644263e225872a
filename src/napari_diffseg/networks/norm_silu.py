"""Group normalisation and SiLU in one go, in the layout that is fast where it runs."""

from __future__ import annotations

import torch
from torch.nn import functional

from napari_diffseg.networks.config import NORM_GROUPS

# PyTorch's channels-last kernel reads a small map in strides, 2 to 16 times slower than a copy in the plain layout and
# back; with more channels a group the strides are long enough again.
_SMALL_PIXELS = 1024
_FEW_CHANNELS = 256


def norm_silu(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, *, eps: float, groups: int = NORM_GROUPS
) -> torch.Tensor:
    """SiLU of the group-normalised features; sums and the normalisation itself are in float32.

    On a processor every row of a batch is summed by itself: PyTorch divides a batch's pixels among its threads, and the
    order of the sums, so their last digits, would depend on the rows beside.

    Parameters
    ----------
    x : Tensor, (B, C, H, W), float32 or bfloat16
        Channels-last; is left as it is.
    weight, bias : Tensor, (C,), float32
        What the normalised channels are multiplied with, and what is added then.
    eps : float
        Added to the variance.
    groups : int
        Into which the channels are divided.

    Returns
    -------
    Tensor, (B, C, H, W), dtype and layout of x
    """
    if x.device.type != "cpu":  # elsewhere the kernel takes one dtype only
        plain = x.to(torch.float32, memory_format=torch.contiguous_format)  # which CUDA's kernel would make of it
        normed = functional.group_norm(plain, groups, weight, bias, eps)
        return functional.silu(normed, inplace=True).to(x.dtype, memory_format=torch.channels_last)
    if x.shape[1] <= _FEW_CHANNELS and x.shape[2] * x.shape[3] < _SMALL_PIXELS:
        normed = functional.group_norm(x.contiguous(), groups, weight, bias, eps)
        return functional.silu(normed, inplace=True).contiguous(memory_format=torch.channels_last)
    if torch.get_num_threads() == 1:
        return functional.silu(functional.group_norm(x, groups, weight, bias, eps), inplace=True)
    out = torch.empty_like(x)
    for n in range(len(x)):
        # Written where it belongs while the row is in the cache.
        normed = functional.group_norm(x[n : n + 1], groups, weight, bias, eps)
        torch.ops.aten.silu.out(normed, out=out[n : n + 1])
    return out
