"""The samplers by name: a new one is a module of its own, its name and its case below."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, assert_never

if TYPE_CHECKING:
    from napari_diffseg.diffusion.denoiser import Denoiser
    from napari_diffseg.diffusion.noise import NoiseSource
    from napari_diffseg.diffusion.schedule import Schedule
    from napari_diffseg.diffusion.step import Steps

SamplerName = Literal["ddpm", "ddim", "dpmpp"]


def sample(name: SamplerName, denoiser: Denoiser, schedule: Schedule, noise: NoiseSource, *, eta: float = 0.0) -> Steps:
    """Go down a schedule by the sampler of a name.

    Parameters
    ----------
    name : SamplerName
        The sampler.
    denoiser : Denoiser
        Of the same schedule.
    schedule : Schedule
        Timesteps to visit.
    noise : NoiseSource
        x_T, and what a sampler adds on its way.
    eta : float
        Share of DDPM's noise that DDIM adds, 0 to 1; the others do not ask for it.

    Yields
    ------
    Step
        From index N - 1 to 0.
    """
    match name:  # imported here: recipes and requests take the names from this module, and need no torch
        case "ddpm":
            from napari_diffseg.diffusion.ddpm import sample_ddpm

            return sample_ddpm(denoiser, schedule, noise)
        case "ddim":
            from napari_diffseg.diffusion.ddim import sample_ddim

            return sample_ddim(denoiser, schedule, noise, eta=eta)
        case "dpmpp":
            from napari_diffseg.diffusion.dpmpp import sample_dpmpp

            return sample_dpmpp(denoiser, schedule, noise)
        case _:
            assert_never(name)
