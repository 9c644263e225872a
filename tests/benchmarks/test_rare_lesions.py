"""Lesions that few readers see: the denoiser is exact, long chains are true to it, and short ones are not."""

from __future__ import annotations

import math

import pytest
import torch
from rare_lesions import Lesion, sampled_share

from napari_diffseg.diffusion.schedule import make_schedule, respaced_timesteps

LESION = Lesion(share=0.1, pixels=100, low=-1.0, high=1.0)


def schedule_of(steps):
    return make_schedule("cosine", 1000, timesteps=respaced_timesteps(1000, steps))


def test_the_denoiser_is_the_posterior_mean():
    schedule = schedule_of(10)
    kept = float(schedule.alphas_cumprod[8])
    x = torch.tensor([-0.3, 0.0, 0.2])
    densities = [
        w * torch.exp(-LESION.pixels * (x - math.sqrt(kept) * m) ** 2 / (2 * (1 - kept)))
        for w, m in ((0.9, -1.0), (0.1, 1.0))
    ]
    p = densities[1] / (densities[0] + densities[1])
    found = LESION.denoiser(schedule)(x.reshape(3, 1, 1, 1), 8)
    torch.testing.assert_close(found.x0.flatten(), 2 * p - 1, rtol=1e-4, atol=1e-5)


def test_nothing_is_known_of_pure_noise_but_the_share():
    schedule = schedule_of(10)
    found = LESION.denoiser(schedule)(torch.zeros(1, 1, 1, 1), 9)
    assert (float(found.x0) + 1) / 2 == pytest.approx(0.1, abs=1e-6)


@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "dpmpp"])
def test_long_chains_sample_the_lesion_as_often_as_readers_mark_it_and_short_ones_seldom(sampler):
    often = sampled_share(LESION, sampler, schedule_of(200), draws=20_000)
    seldom = sampled_share(LESION, sampler, schedule_of(5), draws=20_000)
    assert often == pytest.approx(0.1, abs=0.012)
    assert seldom < 0.02
