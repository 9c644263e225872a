"""The steps of one batch of rows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

import torch

from napari_diffseg.diffusion.denoiser import ConditionedDenoiser
from napari_diffseg.diffusion.noise import SeededNoise, member_seed
from napari_diffseg.diffusion.samplers import sample
from napari_diffseg.segmenting.early_stop import EarlyStop
from napari_diffseg.segmenting.flip_augmentation import Mirroring

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from napari_diffseg.diffusion.step import Step, Steps
    from napari_diffseg.segmenting.rows import Batch, Row
    from napari_diffseg.segmenting.run import Run

_LOOKS: Final = 5
"""How often in a chain a GPU's rows are looked at, whether some are decided: each look waits for the device."""


class BatchStep(NamedTuple):
    """One step of a batch, and how many of its rows it was evaluated for: the others were decided before.

    `empty` counts the rows that are not evaluated from here on because their masks are empty.
    """

    step: Step
    evaluated: int
    empty: int


def chain(run: Run, batch: Batch, first: Mapping[Row, torch.Tensor] | None = None) -> Iterator[BatchStep]:
    """The steps of one batch, until all its rows are decided.

    Gradients are off only while a step is made, never while a consumer holds it. `first` are first evaluations that are
    known; see `OneStepEstimate`.
    """
    going, early = begun(run, batch, first), _early_stop(run, batch)
    rows: torch.Tensor | None = None
    while rows is None or len(rows):
        with torch.inference_mode():
            try:
                step = going.steps.send(rows)
            except StopIteration:
                return
            evaluated = len(step.x)
            if early is not None:
                step, rows = early.see(step), early.narrow()
            if rows is not None and len(rows):
                going.keep(rows)
            seen = replace(step, x=going.mirroring(step.x), x0=going.mirroring(step.x0))
        yield BatchStep(seen, evaluated, 0 if early is None else early.left_empty)


class Going(NamedTuple):
    """A chain and what it takes its numbers from."""

    steps: Steps
    denoiser: ConditionedDenoiser
    noise: SeededNoise
    mirroring: Mirroring

    def keep(self, rows: torch.Tensor) -> None:
        """Go on with some of the rows alone; their places among those that are left."""
        self.denoiser.keep(rows)
        self.noise.keep(rows)


def begun(run: Run, batch: Batch, first: Mapping[Row, torch.Tensor] | None = None) -> Going:
    """The chain of a batch before its first step; `first` as for `chain`."""
    plane = run.plane(batch)
    mirroring = Mirroring.of_members(plane.recipe, [row.member for row in batch], run.device)
    image = mirroring(plane.conditioning.image_on(run.device, [row.slice_index for row in batch]))
    denoiser = ConditionedDenoiser(
        run.network,
        image,
        run.schedule,
        prediction=run.recipe.prediction,
        variance=run.recipe.variance,
        clip=run.recipe.clip,
        rescale_timesteps=run.recipe.rescale_timesteps,
        epsilon_after_clip=run.recipe.epsilon_after_clip,
        first=[first.get(row) for row in batch] if first else (),
    )
    seeds = [member_seed(run.request.seed, row.member, row.slice_index) for row in batch]
    noise = SeededNoise(seeds, (len(run.recipe.labels), *image.shape[-2:]), run.device)
    steps = sample(run.sampler, denoiser, run.schedule, noise, eta=run.request.eta)
    return Going(steps, denoiser, noise, mirroring)


def _early_stop(run: Run, batch: Batch) -> EarlyStop | None:
    if not run.stop_early:
        return None
    steps = len(run.schedule.timesteps)
    every = max(1, steps // _LOOKS) if run.device.type == "cuda" else 1
    return EarlyStop(run.recipe, steps=steps, rows=len(batch), every=every)
