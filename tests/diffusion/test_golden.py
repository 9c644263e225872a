"""The original authors' implementation, step by step; see tests/data/golden/README.md."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_diffseg.diffusion.ddim import sample_ddim
from napari_diffseg.diffusion.ddpm import sample_ddpm
from napari_diffseg.diffusion.denoiser import ConditionedDenoiser
from napari_diffseg.diffusion.schedule import Schedule, make_schedule, respaced_timesteps
from napari_diffseg.networks.config import UNetConfig
from napari_diffseg.networks.infer import infer_config
from napari_diffseg.networks.unet import UNet, to_inference

KEPT = Path(__file__).parents[1] / "data" / "golden"
BESIDE = Path(__file__).parents[3] / "shared" / "golden"
FOLDER = BESIDE if BESIDE.is_dir() else KEPT
NAMES = sorted(path.stem for path in FOLDER.glob("*.npz"))

# Single precision, and sums in another order: 2e-6 of epsilon, which x_0 multiplies by noise / signal.
EPSILON_ERROR = 4e-6


@dataclass(frozen=True)
class Golden:
    config: UNetConfig
    state: dict[str, torch.Tensor]
    arrays: dict[str, np.ndarray]
    network: UNet

    def denoiser(self, schedule: Schedule) -> ConditionedDenoiser:
        learned = self.config.out_channels == 2
        return ConditionedDenoiser(
            self.network,
            torch.from_numpy(self.arrays["image"][:1]),
            schedule,
            prediction="epsilon",
            variance="learned_range" if learned else "fixed_large",
        )

    def noise(self, chain: str):
        generator = torch.Generator().manual_seed(int(self.arrays[f"{chain}_noise_seed"]))
        shape = (1, 1, *self.arrays["image"].shape[-2:])
        return lambda: torch.randn(shape, generator=generator)


@cache
def golden(name: str) -> Golden:
    said = json.loads((FOLDER / f"{name}.json").read_text())
    config = UNetConfig(
        in_channels=said["in_channels"],
        model_channels=said["model_channels"],
        out_channels=said["out_channels"],
        num_res_blocks=said["num_res_blocks"],
        attention_factors=tuple(said["attention_resolutions"]),
        channel_mult=tuple(said["channel_mult"]),
        num_heads=said.get("num_heads", 1),
        num_head_channels=said.get("num_head_channels"),
        new_attention_order=said.get("use_new_attention_order", False),
        scale_shift_norm=said.get("use_scale_shift_norm", False),
        resblock_updown=said.get("resblock_updown", False),
    )
    state = {k: v.float() for k, v in torch.load(FOLDER / f"{name}.pt", weights_only=True).items()}
    network = UNet(config)
    network.load_state_dict(state)
    with np.load(FOLDER / f"{name}.npz") as file:
        return Golden(config, state, dict(file), to_inference(network))


@pytest.fixture(params=NAMES)
def figures(request) -> Golden:
    return golden(request.param)


def test_the_weights_have_the_originals_names_in_the_originals_order(figures):
    assert list(figures.network.state_dict()) == list(figures.state)


def test_the_configuration_is_read_off_the_weights_except_for_the_heads(figures):
    inferred = infer_config({name: tuple(value.shape) for name, value in figures.state.items()}).config
    assert inferred == replace(figures.config, num_heads=1, num_head_channels=None, new_attention_order=False)


def test_one_evaluation_is_the_originals(figures):
    image, x_t, t = (torch.from_numpy(figures.arrays[k]) for k in ("image", "x_t", "t"))
    out = figures.network(torch.cat([image, x_t], dim=1), t).numpy()
    expected = figures.arrays["model_out"]
    assert np.abs(out - expected).max() < 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("name", ["linear", "cosine"])
def test_the_betas_are_the_originals(figures, name):
    # The original derives the betas of a full chain again, too.
    betas = make_schedule(name, 1000, timesteps=np.arange(1000)).betas
    np.testing.assert_allclose(betas, figures.arrays[f"{name}_betas"], rtol=1e-13)


@pytest.mark.parametrize("chain", ["linear_1000", "linear_50", "cosine_50"])
def test_a_shortened_chain_visits_the_originals_timesteps(figures, chain):
    if f"{chain}_timestep_map" not in figures.arrays:
        pytest.skip(f"this set has no {chain}")
    expected = figures.arrays[f"{chain}_timestep_map"]
    np.testing.assert_array_equal(respaced_timesteps(1000, len(expected))[::-1], expected)


def check_ancestral(figures: Golden, chain: str, expected_checks: int) -> None:
    name, count = chain.split("_")
    schedule = make_schedule(name, 1000, timesteps=respaced_timesteps(1000, int(count)))
    checked = 0
    for step in sample_ddpm(figures.denoiser(schedule), schedule, figures.noise(chain)):
        at = f"{chain}_i{step.index}"
        if f"{at}_sample" not in figures.arrays:
            continue
        kept = schedule.alphas_cumprod[step.index]
        gain = np.sqrt(1 / kept - 1)
        of_x0 = (
            1e-4 if gain > 1000 else max(1e-4, EPSILON_ERROR * gain)
        )  # where it is that large, all of x_0 is clipped
        np.testing.assert_allclose(step.x.numpy(), figures.arrays[f"{at}_sample"], rtol=0, atol=1e-4)
        np.testing.assert_allclose(step.x0.numpy(), figures.arrays[f"{at}_pred_xstart"], rtol=0, atol=of_x0)
        checked += 1
    assert checked == expected_checks


@pytest.mark.parametrize("chain", ["linear_50", "cosine_50"])
def test_ancestral_sampling_is_the_originals(figures, chain):
    check_ancestral(figures, chain, 4)


@pytest.mark.slow
def test_ancestral_sampling_in_a_thousand_steps_is_the_originals():
    check_ancestral(golden("plain"), "linear_1000", 4)


@pytest.mark.parametrize("eta", [0, 1])
def test_implicit_sampling_is_the_papers(figures, eta):
    schedule = make_schedule("linear", 1000, timesteps=figures.arrays["ddim50_timestep_map"])
    *_, last = sample_ddim(figures.denoiser(schedule), schedule, figures.noise("ddim50"), eta=eta)
    np.testing.assert_allclose(last.x.numpy(), figures.arrays[f"ddim50_eta{eta}_final"], rtol=0, atol=1e-4)
