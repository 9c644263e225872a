"""How long one evaluation takes here, before anything has been sampled."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import torch

from napari_diffseg.diffusion.denoiser import ConditionedDenoiser

if TYPE_CHECKING:
    from napari_diffseg.recipe import Recipe
    from napari_diffseg.segmenting.device.prepare import Prepared

_LONG_S = 0.5
"""An evaluation that takes this long is not repeated: what the first one makes ready is then a small part of it."""


def seconds_an_evaluation(network: Prepared, recipe: Recipe, *, rows: int, device: torch.device) -> float:
    """Seconds that a slice takes in an evaluation of `rows` blank ones, at the noisiest timestep.

    Parameters
    ----------
    network : Prepared
        On `device` already.
    recipe : Recipe
        Says how large a slice is and what the network is told.
    rows : int
        Slices at once, at least 1.
    device : torch.device
        Where it is measured.

    Returns
    -------
    float
        Of one slice, without what a sampler does between two evaluations.
    """
    schedule = recipe.noise_schedule()
    with torch.inference_mode():
        denoiser = ConditionedDenoiser(
            network,
            torch.zeros(rows, len(recipe.modalities), *recipe.size, device=device),
            schedule,
            prediction=recipe.prediction,
            variance=recipe.variance,
            clip=recipe.clip,
            rescale_timesteps=recipe.rescale_timesteps,
        )
        x = torch.zeros(rows, len(recipe.labels), *recipe.size, device=device)
        if device.type == "cuda":
            _timed(denoiser, x, recipe.train_timesteps - 1)  # libraries are loaded, and the batch is recorded
        seconds = _timed(denoiser, x, recipe.train_timesteps - 1)
        if seconds < _LONG_S:
            seconds = _timed(denoiser, x, recipe.train_timesteps - 1)
    return seconds / rows


def _timed(denoiser: ConditionedDenoiser, x: torch.Tensor, index: int) -> float:
    began = time.perf_counter()
    float(denoiser(x, index).x0.sum())  # a number on the host: the device has done its work
    return time.perf_counter() - began
