"""Data whose denoiser is known in closed form, so that samplers have exact answers."""

from __future__ import annotations

import math
from functools import partial
from typing import get_args

import numpy as np
import pytest
import torch

from napari_diffseg.diffusion.ddim import sample_ddim
from napari_diffseg.diffusion.ddpm import sample_ddpm
from napari_diffseg.diffusion.denoiser import Denoised
from napari_diffseg.diffusion.dpmpp import sample_dpmpp
from napari_diffseg.diffusion.noise import SeededNoise
from napari_diffseg.diffusion.samplers import SamplerName
from napari_diffseg.diffusion.schedule import Schedule, make_schedule, respaced_timesteps
from napari_diffseg.errors import BadRequest

MEAN, DEVIATION = 0.3, 0.5
SAMPLERS = {
    "ddpm": sample_ddpm,
    "ddim": sample_ddim,
    "ddim with noise": partial(sample_ddim, eta=1.0),
    "dpmpp": sample_dpmpp,
}
"""What most tests below go through; a new sampler has a line here, its draws of noise in `DRAWS`, and, if it is
deterministic, its order of convergence in `ORDERS`."""
STEPS = 9
DRAWS = {"ddpm": 1 + STEPS, "ddim": 1, "ddim with noise": 1 + STEPS, "dpmpp": 1}
ORDERS = {"ddim": 1, "dpmpp": 2}


class GaussianData:
    """The exact denoiser of pixels that are N(mean, deviation^2), with the exact variance of an ancestral step.

    Given float64, it reckons in float64, so that an order of convergence can be seen.
    """

    def __init__(self, schedule: Schedule, *, mean: float = MEAN, deviation: float = DEVIATION) -> None:
        self.schedule, self.mean, self.variance = schedule, mean, deviation**2

    def __call__(self, x_t: torch.Tensor, index: int) -> Denoised:
        kept = float(self.schedule.alphas_cumprod[index])
        signal = math.sqrt(kept)
        gain = self.variance * signal / (kept * self.variance + 1 - kept)
        x0 = self.mean + gain * (x_t - signal * self.mean)
        left = self.variance * (1 - gain * signal)
        variance = math.exp(self.schedule.posterior_log_variance[index])
        variance += float(self.schedule.posterior_mean_x0[index]) ** 2 * left
        return Denoised(x0, (x_t - signal * x0) / math.sqrt(1 - kept), math.log(variance))


class CountedNoise:
    def __init__(self, *first: torch.Tensor, shape: tuple[int, ...] = (1, 1, 1, 4), seed: int = 0) -> None:
        self.first, self.shape = list(first), shape
        self.generator = torch.Generator().manual_seed(seed)
        self.draws = 0

    def __call__(self) -> torch.Tensor:
        self.draws += 1
        return self.first.pop(0) if self.first else torch.randn(self.shape, generator=self.generator)


def schedule_of(steps: int, *, name: str = "linear") -> Schedule:
    return make_schedule(name, 1000, timesteps=respaced_timesteps(1000, steps))


def error_after(sampler, steps: int) -> float:
    """Distance from the exact solution of the probability flow, at the last step's x_0."""
    schedule = schedule_of(steps, name="cosine")
    x_last = torch.linspace(-2, 2, 4, dtype=torch.float64).view(1, 1, 1, 4)
    denoiser = GaussianData(schedule)
    *_, last = sampler(denoiser, schedule, CountedNoise(x_last))
    signal, spread = (
        [f(schedule.alphas_cumprod[i]) for i in (0, -1)]
        for f in (math.sqrt, lambda kept: math.sqrt(kept * DEVIATION**2 + 1 - kept))
    )
    x_first = signal[0] * MEAN + spread[0] / spread[1] * (x_last - signal[1] * MEAN)
    return float((last.x - denoiser(x_first, 0).x0).abs().max())


def test_every_sampler_is_tested_here():
    assert set(get_args(SamplerName)) <= set(SAMPLERS)
    assert set(DRAWS) == set(SAMPLERS)


@pytest.mark.parametrize(("sampler", "order"), ORDERS.items())
def test_the_deterministic_samplers_converge_to_the_exact_flow_in_their_order(sampler, order):
    steps = np.array([20, 40, 80, 160])
    errors = [error_after(SAMPLERS[sampler], int(n)) for n in steps]
    slope = -np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert slope == pytest.approx(order, abs=0.1)


@pytest.mark.parametrize("steps", [5, 100])
def test_ancestral_sampling_with_the_exact_variance_gives_the_distribution_of_the_data(steps):
    schedule, count = schedule_of(steps), 200_000
    *_, last = sample_ddpm(GaussianData(schedule), schedule, CountedNoise(shape=(1, 1, 1, count)))
    # The last step gives the expected x_0 of a mask with the least noise, whose spread is a little smaller.
    kept = schedule.alphas_cumprod[0]
    variance = DEVIATION**4 * kept / (kept * DEVIATION**2 + 1 - kept)
    assert float(last.x.mean()) == pytest.approx(MEAN, abs=4 * DEVIATION / math.sqrt(count))
    assert float(last.x.var()) == pytest.approx(variance, rel=4 * math.sqrt(2 / count))


@pytest.mark.parametrize("sampler", SAMPLERS.values(), ids=SAMPLERS)
@pytest.mark.parametrize("name", ["linear", "cosine"])
def test_data_that_are_one_point_are_returned_by_every_sampler(sampler, name):
    schedule = schedule_of(12, name=name)
    *_, last = sampler(GaussianData(schedule, mean=0.7, deviation=0.0), schedule, CountedNoise())
    torch.testing.assert_close(last.x, torch.full((1, 1, 1, 4), 0.7), rtol=0, atol=1e-6)


@pytest.mark.parametrize("sampler", SAMPLERS.values(), ids=SAMPLERS)
@pytest.mark.parametrize("steps", [1, 7])
def test_steps_go_from_the_noisiest_timestep_to_the_prediction_itself(sampler, steps):
    schedule = schedule_of(steps)
    chain = list(sampler(GaussianData(schedule), schedule, CountedNoise()))
    assert [step.index for step in chain] == list(range(steps))[::-1]
    assert [step.timestep for step in chain] == schedule.timesteps.tolist()
    assert chain[0].timestep == 999
    torch.testing.assert_close(chain[-1].x, chain[-1].x0)


@pytest.mark.parametrize(("sampler", "draws"), DRAWS.items())
def test_a_sampler_draws_what_it_says_it_draws(sampler, draws):
    schedule, noise = schedule_of(STEPS), CountedNoise()
    assert len(list(SAMPLERS[sampler](GaussianData(schedule), schedule, noise))) == STEPS
    assert noise.draws == draws


def test_implicit_sampling_with_all_its_noise_is_ancestral_sampling_with_the_posteriors_variance():
    schedule = schedule_of(20)
    exact = GaussianData(schedule)

    def without_variance(x_t: torch.Tensor, index: int) -> Denoised:
        denoised = exact(x_t, index)
        return Denoised(denoised.x0, denoised.epsilon, None)

    implicit = sample_ddim(exact, schedule, CountedNoise(seed=3), eta=1.0)
    ancestral = sample_ddpm(without_variance, schedule, CountedNoise(seed=3))
    for one, other in zip(implicit, ancestral, strict=True):
        torch.testing.assert_close(one.x, other.x, rtol=0, atol=1e-5)


@pytest.mark.parametrize("sampler", SAMPLERS.values(), ids=SAMPLERS)
def test_a_row_is_the_same_alone_and_in_a_batch(sampler):
    schedule = schedule_of(6)
    denoiser = GaussianData(schedule)
    *_, alone = sampler(denoiser, schedule, SeededNoise([5], (1, 3, 4), "cpu"))
    *_, batch = sampler(denoiser, schedule, SeededNoise([8, 5, 2], (1, 3, 4), "cpu"))
    assert torch.equal(alone.x[0], batch.x[1])


@pytest.mark.parametrize("sampler", SAMPLERS.values(), ids=SAMPLERS)
def test_a_step_that_was_given_out_is_not_written_to_again(sampler):
    schedule = schedule_of(6)
    seen = [
        (step, step.x.clone(), step.x0.clone()) for step in sampler(GaussianData(schedule), schedule, CountedNoise())
    ]
    assert all(torch.equal(step.x, x) and torch.equal(step.x0, x0) for step, x, x0 in seen)


@pytest.mark.parametrize("eta", [-0.1, 1.5, float("nan")])
def test_an_eta_outside_zero_and_one_is_refused(eta):
    schedule = schedule_of(3)
    with pytest.raises(BadRequest, match="Eta is"):
        next(sample_ddim(GaussianData(schedule), schedule, CountedNoise(), eta=eta))
