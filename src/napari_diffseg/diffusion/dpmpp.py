"""Fast deterministic sampling of second order."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from napari_diffseg.diffusion.step import Step, Steps

if TYPE_CHECKING:
    import torch

    from napari_diffseg.diffusion.denoiser import Denoiser
    from napari_diffseg.diffusion.noise import NoiseSource
    from napari_diffseg.diffusion.schedule import Schedule


def sample_dpmpp(denoiser: Denoiser, schedule: Schedule, noise: NoiseSource) -> Steps:
    """Go down the schedule with DPM-Solver++(2M): one evaluation a step, extrapolated from the one before.

    The first step, with nothing before it, is of first order; so is the last, which goes to no noise at all and so
    is the predicted x_0.

    Parameters
    ----------
    denoiser : Denoiser
        Of the same schedule; its variance is not used.
    schedule : Schedule
        Timesteps to visit; 15 to 25 evenly spaced ones are enough for most.
    noise : NoiseSource
        x_T, its only draw.

    Yields
    ------
    Step
        From index N - 1 to 0; see `Steps` for how to go on with fewer rows.

    Notes
    -----
    Evenly spaced timesteps make the steps before the last long in log(signal / noise), and the extrapolation with
    them. A binary mask is decided by then and does not mind; data that are continuous overshoot with few steps.

    References
    ----------
    Lu et al. 2022, arXiv:2211.01095, algorithm 2.
    """
    x = noise()
    before: torch.Tensor | None = None
    h_before = 0.0
    for index in reversed(range(len(schedule))):
        denoised = denoiser(x, index)
        if index == 0:
            x = denoised.x0
        else:
            h = _half_log_snr(schedule, index - 1) - _half_log_snr(schedule, index)
            data = denoised.x0
            if before is not None:
                weight = h / (2 * h_before)  # 1 / (2 r) of the paper
                data = (1 + weight) * data - weight * before
            kept, kept_next = float(schedule.alphas_cumprod[index]), float(schedule.alphas_cumprod[index - 1])
            x = math.sqrt((1 - kept_next) / (1 - kept)) * x - math.sqrt(kept_next) * math.expm1(-h) * data
            before, h_before = denoised.x0, h
        rows = yield Step(index, schedule.timestep(index), x, denoised.x0)
        if rows is not None:
            x = x[rows]
            before = before if before is None else before[rows]


def _half_log_snr(schedule: Schedule, index: int) -> float:
    """Lambda of the paper: the logarithm of signal over noise."""
    kept = float(schedule.alphas_cumprod[index])
    if kept <= 0:
        return -math.inf  # pure noise: the step from it is infinitely long, and is not extrapolated from
    return 0.5 * math.log(kept / (1 - kept))
