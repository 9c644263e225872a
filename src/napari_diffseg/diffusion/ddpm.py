"""Ancestral sampling."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from napari_diffseg.diffusion.step import Step, Steps

if TYPE_CHECKING:
    from napari_diffseg.diffusion.denoiser import Denoiser
    from napari_diffseg.diffusion.noise import NoiseSource
    from napari_diffseg.diffusion.schedule import Schedule


def sample_ddpm(denoiser: Denoiser, schedule: Schedule, noise: NoiseSource) -> Steps:
    """Go down the schedule by draws from p(x_{t-1} | x_t).

    Parameters
    ----------
    denoiser : Denoiser
        Of the same schedule. Where it gives no log variance, that of the posterior is taken.
    schedule : Schedule
        Timesteps to visit.
    noise : NoiseSource
        x_T, then one draw a step; the last step adds none and draws all the same, as the original does.

    Yields
    ------
    Step
        From index N - 1 to 0; see `Steps` for how to go on with fewer rows.

    References
    ----------
    Ho et al. 2020, arXiv:2006.11239, algorithm 2.
    """
    x = noise()
    for index in reversed(range(len(schedule))):
        denoised = denoiser(x, index)
        drawn = noise()
        of_x0, of_x_t = float(schedule.posterior_mean_x0[index]), float(schedule.posterior_mean_x_t[index])
        x = of_x0 * denoised.x0 + of_x_t * x
        if index > 0:
            log_variance = denoised.log_variance
            if log_variance is None:
                log_variance = float(schedule.posterior_log_variance[index])
            x = x + _deviation(log_variance) * drawn
        rows = yield Step(index, schedule.timestep(index), x, denoised.x0)
        if rows is not None:
            x = x[rows]


def _deviation(log_variance: torch.Tensor | float) -> torch.Tensor | float:
    half = 0.5 * log_variance
    return half.exp() if isinstance(half, torch.Tensor) else math.exp(half)
