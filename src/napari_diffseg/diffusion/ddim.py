"""Implicit sampling."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from napari_diffseg.diffusion.step import Step, Steps
from napari_diffseg.errors import BadRequest

if TYPE_CHECKING:
    from napari_diffseg.diffusion.denoiser import Denoiser
    from napari_diffseg.diffusion.noise import NoiseSource
    from napari_diffseg.diffusion.schedule import Schedule


def sample_ddim(denoiser: Denoiser, schedule: Schedule, noise: NoiseSource, *, eta: float = 0.0) -> Steps:
    """Go down the schedule along the predicted noise, with as much fresh noise as `eta` says.

    Parameters
    ----------
    denoiser : Denoiser
        Of the same schedule; its variance is not used.
    schedule : Schedule
        Timesteps to visit.
    noise : NoiseSource
        x_T; then, unless eta is 0, one draw a step, the last included though it adds none.
    eta : float
        0: a function of x_T alone; 1: as much noise as the posterior of an ancestral step.

    Yields
    ------
    Step
        From index N - 1 to 0; see `Steps` for how to go on with fewer rows.

    Raises
    ------
    BadRequest
        If eta is outside [0, 1].

    References
    ----------
    Song et al. 2021, arXiv:2010.02502, equations 12 and 16.
    """
    if not 0 <= eta <= 1:
        raise BadRequest(f"Eta is {eta}: give a number from 0 to 1.")
    x = noise()
    for index in reversed(range(len(schedule))):
        denoised = denoiser(x, index)
        kept, kept_next = float(schedule.alphas_cumprod[index]), float(schedule.alphas_cumprod_prev[index])
        deviation = eta * math.sqrt((1 - kept_next) / (1 - kept) * (1 - kept / kept_next))
        along = math.sqrt(max(0.0, 1 - kept_next - deviation**2))
        x = math.sqrt(kept_next) * denoised.x0 + along * denoised.epsilon
        if eta > 0:
            x = x + deviation * noise()  # at index 0 the deviation is 0
        rows = yield Step(index, schedule.timestep(index), x, denoised.x0)
        if rows is not None:
            x = x[rows]
