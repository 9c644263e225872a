"""Convolutions with weights laid out beforehand are the plain ones."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from napari_diffseg.networks import packed_conv
from napari_diffseg.networks.packed_conv import PackedConv
from napari_diffseg.networks.tapped_conv import TappedConv
from napari_diffseg.segmenting.device.choose_device import resolve_precision

SHAPES = [(5, 32, 3, 1, 1), (32, 64, 1, 1, 0), (32, 32, 3, 2, 1), (32, 64, 2, 1, 1)]
"""Channels in and out, width of the kernel, stride, padding."""


def whole_numbers(*shape: int, seed: int) -> torch.Tensor:
    """Small ones, so that sums are exact in any order."""
    return torch.randint(-2, 3, shape, generator=torch.Generator().manual_seed(seed)).float()


def convolution(channels_in: int, channels_out: int, width: int, stride: int, padding: int) -> nn.Conv2d:
    conv = nn.Conv2d(channels_in, channels_out, width, stride=stride, padding=padding).requires_grad_(False)
    conv.weight.copy_(whole_numbers(*conv.weight.shape, seed=1))
    conv.bias.copy_(whole_numbers(channels_out, seed=2))
    return conv


def features(*shape: int) -> torch.Tensor:
    return whole_numbers(*shape, seed=3).contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_packed_convolution_is_the_plain_one_to_the_last_bit_where_sums_are_exact(shape):
    conv, x = convolution(*shape), features(3, shape[0], 9, 7)
    out = PackedConv.of(conv)(x)
    assert torch.equal(out, conv(x))
    assert out.is_contiguous(memory_format=torch.channels_last)


def test_another_size_of_features_is_taken_too():
    conv = convolution(*SHAPES[0])
    packed = PackedConv.of(conv)
    for x in (features(2, 5, 9, 7), features(1, 5, 20, 4), features(2, 5, 9, 7)):
        assert torch.equal(packed(x), conv(x))


def test_another_bias_takes_the_place_of_its_own():
    conv, x, bias = convolution(*SHAPES[0]), features(2, 5, 6, 6), whole_numbers(32, seed=4)
    assert torch.equal(PackedConv.of(conv)(x, bias), functional.conv2d(x, conv.weight, bias, padding=1))


@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_there_is_added_to_in_place(shape):
    conv, x = convolution(*shape), features(3, shape[0], 9, 7)
    there = features(*conv(x).shape)
    expected = there + conv(x)
    assert PackedConv.of(conv).add_to(there, x) is there
    assert torch.equal(there, expected)


def test_in_half_precision_the_sum_is_rounded_once():
    if resolve_precision("auto", torch.device("cpu")) != torch.bfloat16:
        pytest.skip("this processor does not compute in bf16")
    conv, x = convolution(32, 64, 3, 1, 1), features(2, 32, 8, 8)
    conv.weight.mul_(37)  # sums that half precision does not hold
    there = 5 * features(2, 64, 8, 8)
    exact = there + conv(x)
    half = there.bfloat16()
    PackedConv(conv.weight.bfloat16(), conv.bias.bfloat16()).add_to(half, x.bfloat16())
    assert torch.equal(half, exact.bfloat16())
    assert not torch.equal(conv(x).bfloat16() + there.bfloat16(), exact.bfloat16())


@pytest.mark.parametrize("channels_out", [1, 2, 4])
def test_a_tapped_convolution_is_the_plain_one_to_the_last_bit_where_sums_are_exact(channels_out):
    conv, x = convolution(32, channels_out, 3, 1, 1), features(3, 32, 9, 7)
    assert torch.equal(TappedConv(conv)(x), conv(x))


def test_a_tapped_row_is_the_same_to_the_bit_in_any_batch():
    conv = nn.Conv2d(32, 2, 3, padding=1).requires_grad_(False)
    x = torch.randn(5, 32, 40, 40, generator=torch.Generator().manual_seed(5))
    whole = TappedConv(conv)(x)
    assert torch.equal(TappedConv(conv)(x[3:4])[0], whole[3])
    torch.testing.assert_close(whole, conv(x), rtol=0, atol=1e-5)


@pytest.fixture
def without_operators(monkeypatch):
    """A PyTorch that names the operators otherwise."""

    def lay_out(*_arguments):
        raise AttributeError("'_OpNamespace' 'mkldnn' object has no attribute '_reorder_convolution_weight'")

    packed_conv._operators_work.cache_clear()
    monkeypatch.setattr(packed_conv, "_lay_out", lay_out)
    yield
    packed_conv._operators_work.cache_clear()


def test_a_pytorch_without_the_operators_convolves_in_its_own_way(without_operators):
    conv, x = convolution(*SHAPES[0]), features(2, 5, 9, 7)
    packed = PackedConv.of(conv)
    assert not packed.packs
    assert torch.equal(packed(x), conv(x))
    assert torch.equal(packed.add_to(conv(x), x), 2 * conv(x))


def test_in_pytorchs_own_way_a_row_is_still_the_same_alone_and_in_a_batch(without_operators):
    generator = torch.Generator().manual_seed(0)
    conv = nn.Conv2d(32, 32, 3, padding=1).requires_grad_(False)
    x = torch.randn(4, 32, 20, 20, generator=generator).contiguous(memory_format=torch.channels_last)
    packed = PackedConv.of(conv)
    assert torch.equal(packed(x[1:2]), packed(x)[1:2])
