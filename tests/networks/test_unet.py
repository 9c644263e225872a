from __future__ import annotations

import numpy as np
import pytest
import torch

from builders import PAPER_NETWORK
from napari_diffseg.errors import BadRequest
from napari_diffseg.networks.attention import AttentionBlock
from napari_diffseg.networks.config import UNetConfig
from napari_diffseg.networks.layers import GroupNorm32
from napari_diffseg.networks.unet import UNet, timestep_embedding, to_inference

SMALL = UNetConfig(
    in_channels=3, model_channels=32, out_channels=1, num_res_blocks=1, attention_factors=(2,), channel_mult=(1, 2)
)


def filled(config: UNetConfig) -> UNet:
    """A network without zeros in it."""
    network = UNet(config)
    generator = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        if parameter.ndim > 1:
            parameter.data = 0.05 * torch.randn(parameter.shape, generator=generator)
    return network


def inputs(config: UNetConfig, *, size: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, config.in_channels, size, size, generator=generator), torch.tensor([3, 777])


def test_the_papers_network_has_113674370_parameters_in_426_tensors():
    with torch.device("meta"):
        network = UNet(PAPER_NETWORK)
    assert sum(p.numel() for p in network.parameters()) == 113_674_370
    assert len(network.state_dict()) == 426


def test_a_new_network_predicts_zero():
    x, t = inputs(SMALL)
    assert UNet(SMALL)(x, t).abs().max() == 0


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"resblock_updown": True},
        {"conv_resample": False},
        {"scale_shift_norm": True},
        {"channel_mult": (1,), "attention_factors": (1,)},
        {"channel_mult": (1, 1, 2), "attention_factors": ()},
    ],
)
def test_every_weight_of_every_variant_takes_part_and_learns(change):
    config = UNetConfig.from_dict(SMALL.to_dict() | change)
    network = filled(config)
    x, t = inputs(config)
    out = network(x, t)
    assert out.shape == (2, 1, 16, 16)
    out.square().mean().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_dropout_acts_in_training_only():
    network = filled(UNetConfig.from_dict(SMALL.to_dict() | {"dropout": 0.5}))
    x, t = inputs(SMALL)
    network.train()
    assert not torch.equal(network(x, t), network(x, t))
    network.eval()
    assert torch.equal(network(x, t), network(x, t))


def test_the_embedding_is_cosines_then_sines_down_to_a_period_of_ten_thousand():
    embedding = timestep_embedding(torch.tensor([7.0, 0.5]), 4).numpy()
    for row, t in zip(embedding, (7.0, 0.5), strict=True):
        np.testing.assert_allclose(row, [np.cos(t), np.cos(t / 100), np.sin(t), np.sin(t / 100)], rtol=1e-6)


def attention_by_hand(block: AttentionBlock, x: np.ndarray) -> np.ndarray:
    """Softmax attention of one example (C, tokens), head after head, in float64."""
    channels, tokens = x.shape
    groups = x.reshape(32, -1)
    normed = ((groups - groups.mean(1, keepdims=True)) / np.sqrt(groups.var(1, keepdims=True) + 1e-5)).reshape(x.shape)
    qkv = block.qkv.weight[:, :, 0].double().numpy() @ normed + block.qkv.bias.double().numpy()[:, None]
    size = channels // block.heads
    out = []
    for head in range(block.heads):
        if block.new_order:
            q, k, v = (qkv[part * channels + head * size :][:size] for part in range(3))
        else:
            q, k, v = (qkv[(3 * head + part) * size :][:size] for part in range(3))
        scores = np.exp(q.T @ k / np.sqrt(size))
        out.append(v @ (scores / scores.sum(1, keepdims=True)).T)
    projected = block.proj_out.weight[:, :, 0].double().numpy() @ np.concatenate(out)
    assert projected.shape == (channels, tokens)
    return x + projected + block.proj_out.bias.double().numpy()[:, None]


@pytest.mark.parametrize("new_order", [False, True])
@pytest.mark.parametrize("heads", [1, 4])
def test_attention_is_softmax_attention_in_either_order(heads, new_order):
    generator = torch.Generator().manual_seed(2)
    block = AttentionBlock(64, heads, new_order=new_order).requires_grad_(False)
    for parameter in (block.qkv.weight, block.qkv.bias, block.proj_out.weight, block.proj_out.bias):
        parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    x = torch.randn(1, 64, 3, 4, generator=generator)
    expected = attention_by_hand(block, x[0].reshape(64, 12).double().numpy())
    np.testing.assert_allclose(block(x)[0].reshape(64, 12), expected, rtol=0, atol=1e-4)


def test_normalisation_is_done_in_float32_and_given_back_in_half():
    x = (1000 + torch.randn(1, 32, 8, 8, generator=torch.Generator().manual_seed(3))).bfloat16()
    normed = GroupNorm32(32).bfloat16()(x)
    assert normed.dtype == torch.bfloat16
    exact = torch.nn.functional.group_norm(x.double(), 32)
    torch.testing.assert_close(normed.double(), exact, rtol=0.01, atol=0.01)


@pytest.mark.parametrize("memory_format", [torch.channels_last, torch.contiguous_format])
def test_the_memory_format_does_not_change_what_is_predicted(memory_format):
    network, (x, t) = filled(SMALL), inputs(SMALL)
    with torch.no_grad():
        expected = network.eval()(x, t)
    inferring = to_inference(network, memory_format=memory_format)
    assert inferring.input_blocks[1][0].in_layers[2].weight.is_contiguous(memory_format=memory_format)
    torch.testing.assert_close(inferring(x, t), expected, rtol=1e-5, atol=1e-5)


def test_half_precision_is_close_and_keeps_its_ends_exact():
    network, (x, t) = filled(SMALL), inputs(SMALL)
    with torch.no_grad():
        expected = network.eval()(x, t)
    half = to_inference(network, torch.bfloat16)
    out = half(x, t)
    assert out.dtype == torch.float32
    assert half.input_blocks[0][0].weight.dtype == half.out[2].weight.dtype == torch.float32
    assert half.middle_block[0].in_layers[0].weight.dtype == torch.float32
    assert half.middle_block[0].in_layers[2].weight.dtype == torch.bfloat16
    error = (out - expected).norm() / expected.norm()
    assert 0 < error < 0.02


def test_inference_holds_no_gradients():
    network = to_inference(filled(SMALL))
    x, t = inputs(SMALL)
    assert not network.training
    assert not network(x, t).requires_grad


def test_a_size_that_cannot_be_halved_often_enough_is_refused_with_the_multiple():
    with pytest.raises(BadRequest, match="15 x 16 pixels, but needs multiples of 2"):
        UNet(SMALL)(torch.zeros(1, 3, 15, 16), torch.zeros(1))


def test_another_number_of_channels_is_refused():
    with pytest.raises(BadRequest, match="takes 3 channels, but was given 5"):
        UNet(SMALL)(torch.zeros(1, 5, 16, 16), torch.zeros(1))
