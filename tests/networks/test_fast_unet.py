"""The network as samplers use it is the plain one, and its rows do not depend on each other."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from builders import PAPER_NETWORK
from napari_diffseg.errors import BadRequest
from napari_diffseg.networks.blocks import Upsample
from napari_diffseg.networks.config import UNetConfig
from napari_diffseg.networks.fast_unet import FastUNet
from napari_diffseg.networks.norm_silu import norm_silu
from napari_diffseg.networks.phased_upsample import PhasedUpsample
from napari_diffseg.networks.unet import UNet, to_inference
from napari_diffseg.segmenting.device.choose_device import resolve_precision

SMALL = UNetConfig(
    in_channels=3, model_channels=32, out_channels=2, num_res_blocks=1, attention_factors=(2,), channel_mult=(1, 2)
)
VARIANTS = [
    {},
    {"scale_shift_norm": True},
    {"resblock_updown": True, "scale_shift_norm": True},
    {"conv_resample": False},
    {"channel_mult": (1, 1, 2), "attention_factors": ()},
]


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def filled(config: UNetConfig) -> UNet:
    """The same weights every time, normalisations about one and all else about zero."""
    network = UNet(config)
    generator = torch.Generator().manual_seed(0)
    for name, parameter in network.named_parameters():
        middle = 1.0 if parameter.ndim == 1 and name.endswith("weight") else 0.0
        parameter.data = middle + 0.05 * torch.randn(parameter.shape, generator=generator)
    return network


def noise(rows: int, channels: int, size: int = 40) -> torch.Tensor:
    return torch.randn(rows, channels, size, size, generator=torch.Generator().manual_seed(1))


def plainly(network: UNet, x: torch.Tensor, timestep: float) -> torch.Tensor:
    with torch.no_grad():
        return network.eval()(x, torch.full((len(x),), timestep))


def fast(network: FastUNet, x: torch.Tensor, timestep: float, *, masks: int = 1) -> torch.Tensor:
    return network.conditioned_on(x[:, :-masks])(x[:, -masks:], timestep)


@pytest.mark.parametrize("change", VARIANTS)
def test_every_variant_predicts_what_the_plain_network_predicts_at_any_timestep(change):
    config = UNetConfig.from_dict(SMALL.to_dict() | change)
    x = noise(3, 3)
    network = FastUNet(to_inference(filled(config)))
    for timestep in (0, 500, 999.5, 500):
        expected = plainly(filled(config), x, timestep)
        assert expected.std() > 0.05
        torch.testing.assert_close(fast(network, x, timestep), expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("change", VARIANTS[:2])
def test_half_precision_is_no_further_from_float32_than_the_plain_networks(change):
    config, x = UNetConfig.from_dict(SMALL.to_dict() | change), noise(3, 3)
    exact = plainly(filled(config), x, 700)
    half = to_inference(filled(config), torch.bfloat16)
    errors = [
        (out - exact).norm() / exact.norm() for out in (fast(FastUNet(half), x, 700), half(x, torch.full((3,), 700)))
    ]
    assert 0 < errors[0] < 1.1 * errors[1] < 0.03


def test_two_mask_channels_are_both_seen():
    network = FastUNet(to_inference(filled(SMALL)))
    x = noise(2, 3)
    other = x.clone()
    other[:, 1] += 1
    assert (fast(network, x, 5, masks=2) != fast(network, other, 5, masks=2)).any()
    torch.testing.assert_close(fast(network, x, 5, masks=2), fast(network, x, 5), rtol=0, atol=0)


def test_a_timestep_is_worked_out_once():
    network = FastUNet(to_inference(filled(SMALL)))
    predict, calls = network.conditioned_on(noise(1, 2)), []
    network.network.time_embed.register_forward_hook(lambda *_: calls.append(1))
    for timestep in (5, 5, 7, 5):
        predict(noise(1, 1), timestep)
    assert len(calls) == 2


def test_what_the_plain_network_refuses_is_refused():
    network = FastUNet(to_inference(filled(SMALL)))
    with pytest.raises(BadRequest, match="takes 3 channels, but was given 4"):
        network.conditioned_on(noise(1, 3))(noise(1, 1), 0)
    with pytest.raises(BadRequest, match="multiples of 2"):
        network.conditioned_on(noise(1, 2, 41))


def test_upsampling_in_phases_is_repetition_and_convolution_to_the_last_bit_where_sums_are_exact():
    generator = torch.Generator().manual_seed(2)
    plain = Upsample(8, conv=True).requires_grad_(False)
    for parameter in plain.parameters():
        parameter.copy_(torch.randint(-4, 5, parameter.shape, generator=generator))
    x = torch.randint(-4, 5, (2, 8, 5, 3), generator=generator).float()
    assert torch.equal(PhasedUpsample(plain.conv)(x.contiguous(memory_format=torch.channels_last)), plain(x))


@pytest.mark.parametrize("size", [(4, 40, 40), (64, 40, 40), (64, 8, 8), (288, 8, 8)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_normalised_rows_are_right_and_do_not_depend_on_the_rows_beside(size, dtype, two_threads):
    channels = 32 * -(-size[0] // 32)
    generator = torch.Generator().manual_seed(3)
    x = (2 + torch.randn(5, channels, *size[1:], generator=generator)).to(dtype, memory_format=torch.channels_last)
    weight, bias = torch.rand(channels, generator=generator), torch.rand(channels, generator=generator)
    out = norm_silu(x, weight, bias, eps=1e-5)
    exact = functional.silu(functional.group_norm(x.double(), 32, weight.double(), bias.double(), 1e-5))
    assert out.dtype == dtype
    assert out.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(
        out.double(),
        exact,
        rtol=0.02 if dtype == torch.bfloat16 else 1e-5,
        atol=1e-2 if dtype == torch.bfloat16 else 1e-5,
    )
    for n in range(5):
        assert torch.equal(norm_silu(x[n : n + 1], weight, bias, eps=1e-5)[0], out[n])


@pytest.mark.parametrize(("size", "dtype"), [(40, torch.bfloat16), (16, torch.bfloat16), (40, torch.float32)])
def test_a_row_is_the_same_to_the_bit_in_any_batch(size, dtype, two_threads):
    if dtype == torch.bfloat16 and resolve_precision("auto", torch.device("cpu")) != dtype:
        pytest.skip("this processor does not compute in bf16")
    config = UNetConfig.from_dict(SMALL.to_dict() | {"channel_mult": [1, 2, 3], "scale_shift_norm": True})
    network, x = FastUNet(to_inference(filled(config), dtype)), noise(6, 3, size)
    whole = fast(network, x, 300)
    alone = [slice(0, 1), slice(5, 6)] if dtype == torch.bfloat16 else []  # float32: another algorithm for one row
    for rows in (slice(0, 2), slice(2, 5), *alone):
        assert torch.equal(fast(network, x[rows], 300), whole[rows])


@pytest.mark.slow
def test_the_papers_network_predicts_what_the_plain_one_predicts():
    x = noise(1, 5, 64)
    expected = plainly(filled(PAPER_NETWORK), x, 250)
    torch.testing.assert_close(
        fast(FastUNet(to_inference(filled(PAPER_NETWORK))), x, 250), expected, rtol=1e-4, atol=1e-4
    )
