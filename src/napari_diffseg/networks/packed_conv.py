"""A convolution whose weights are laid out beforehand as the processor's library reads them."""

from __future__ import annotations

import logging
import platform
from functools import cache
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from torch import nn

logger = logging.getLogger(__name__)

_Pair = tuple[int, int]


class PackedConv:
    """What a `Conv2d` computes; on an x86 processor without laying out its weights anew at every call.

    There it also takes the same way through oneDNN whatever the batch is, so that a row is the same to the bit alone
    and in any batch. PyTorch's own way is another one for a single small row in float32, so on other processors such a
    row goes twice.

    Parameters
    ----------
    weight : Tensor, (out, in, h, w), float32 or bfloat16
        On its device; must not change afterwards.
    bias : Tensor, (out,)
        Of the same dtype.
    stride, padding : int
        Along rows and columns alike.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor, *, stride: int = 1, padding: int = 1) -> None:
        self._weight, self._bias = weight.detach(), bias.detach()
        self._stride, self._padding = (stride, stride), (padding, padding)
        self.packs = _can_pack(self._weight)
        """Whether its weights are laid out beforehand."""
        self._packed: tuple[torch.Size, torch.Tensor] | None = None

    @classmethod
    def of(cls, conv: nn.Conv2d) -> PackedConv:
        """The same as this convolution, which is of the family: square, with a bias, undilated, of one group."""
        assert conv.bias is not None
        assert isinstance(conv.padding[0], int)
        return cls(conv.weight, conv.bias, stride=conv.stride[0], padding=conv.padding[0])

    def __call__(self, x: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        """From x (B, in, H, W), channels-last, to (B, out, H', W') alike; with another bias if one is given."""
        bias = self._bias if bias is None else bias
        if not self.packs:
            return self._plain(x, bias)
        return _convolve(x, self._laid_out(x), bias, self._stride, self._padding)

    def add_to(self, out: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Add what x (B, in, H, W) becomes to `out` (B, out, H', W'), channels-last, in place; returns it."""
        if not self.packs:
            return out.add_(self._plain(x, self._bias))
        _convolve_onto(out, x, self._laid_out(x), self._bias, self._stride, self._padding)
        return out

    def _plain(self, x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        """PyTorch's own way."""
        rows = torch.cat([x, x]) if len(x) == 1 and x.device.type == "cpu" and x.dtype == torch.float32 else x
        return functional.conv2d(rows, self._weight, bias, self._stride, self._padding)[: len(x)]

    def _laid_out(self, x: torch.Tensor) -> torch.Tensor:
        """The weights as oneDNN wants them for features of this size; those of another can be thirty times slower."""
        size, packed = x.shape[2:], self._packed
        if packed is None or packed[0] != size:
            # Two threads may both come here: what they make is the same.
            packed = (size, _lay_out(self._weight, x, self._stride, self._padding))
            self._packed = packed
        return packed[1]


def _can_pack(weight: torch.Tensor) -> bool:
    """Whether these weights can be laid out for oneDNN: other processors' libraries were not tried."""
    if weight.device.type != "cpu" or platform.machine().lower() not in {"x86_64", "amd64"}:
        return False
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    return _operators_work(weight.dtype)


@cache
def _operators_work(dtype: torch.dtype) -> bool:
    """Whether PyTorch has the operators and they give what its public ones do, tried once a process.

    They are those that its own compiler calls, and another version may have others.
    """
    x = torch.arange(288.0).remainder_(5).reshape(2, 16, 3, 3).to(dtype).contiguous(memory_format=torch.channels_last)
    weight, bias = torch.ones(16, 16, 1, 1, dtype=dtype), torch.ones(16, dtype=dtype)
    try:
        if dtype == torch.bfloat16 and not torch.ops.mkldnn._is_mkldnn_bf16_supported():  # noqa: SLF001
            return False
        laid_out = _lay_out(weight, x, (1, 1), (0, 0))
        out = _convolve(x, laid_out, bias, (1, 1), (0, 0))
        _convolve_onto(out, x, laid_out, bias, (1, 1), (0, 0))
    except (AttributeError, RuntimeError, TypeError) as err:
        logger.warning("This PyTorch lays out weights in another way: convolutions are slower.", exc_info=err)
        return False
    return torch.equal(out, 2 * functional.conv2d(x, weight, bias))


def _lay_out(weight: torch.Tensor, x: torch.Tensor, stride: _Pair, padding: _Pair) -> torch.Tensor:
    out: torch.Tensor = torch.ops.mkldnn._reorder_convolution_weight(  # noqa: SLF001
        weight, padding, stride, (1, 1), 1, list(x.shape)
    )
    return out


def _convolve(
    x: torch.Tensor, laid_out: torch.Tensor, bias: torch.Tensor, stride: _Pair, padding: _Pair
) -> torch.Tensor:
    out: torch.Tensor = torch.ops.mkldnn._convolution_pointwise(  # noqa: SLF001
        x, laid_out, bias, padding, stride, (1, 1), 1, "none", [], ""
    )
    return out


def _convolve_onto(
    out: torch.Tensor, x: torch.Tensor, laid_out: torch.Tensor, bias: torch.Tensor, stride: _Pair, padding: _Pair
) -> None:
    torch.ops.mkldnn._convolution_pointwise_.binary(
        out, x, laid_out, bias, padding, stride, (1, 1), 1, "add", 1.0, None, [], None
    )
