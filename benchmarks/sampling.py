"""Members of an ensemble for the slices of a held-out phantom, sampled with the engine's own parts."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from napari_diffseg.decode import decode_masks, decode_preview
from napari_diffseg.diffusion.ddim import sample_ddim
from napari_diffseg.diffusion.ddpm import sample_ddpm
from napari_diffseg.diffusion.denoiser import ConditionedDenoiser
from napari_diffseg.diffusion.dpmpp import sample_dpmpp
from napari_diffseg.diffusion.noise import SeededNoise, member_seed
from napari_diffseg.diffusion.schedule import Schedule, make_schedule, respaced_timesteps
from napari_diffseg.ensemble.smoothing import Smoothing
from napari_diffseg.segmenting.flip_augmentation import Mirroring

if TYPE_CHECKING:
    from collections.abc import Callable

    from cells import Budget, Cells
    from held_out import HeldOut

    from napari_diffseg.diffusion.noise import NoiseSource
    from napari_diffseg.diffusion.samplers import SamplerName
    from napari_diffseg.recipe import Recipe
    from napari_diffseg.segmenting.device.prepare import Prepared

Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Chain:
    """How members are sampled.

    Attributes
    ----------
    sampler : {"ddpm", "ddim", "dpmpp"}
        Which.
    steps : int
        How many.
    eta : float
        Of ddim.
    shifted : bool
        Start at sqrt(1 - ab_T) z + sqrt(ab_T) x0(z, T) instead of at the noise z; costs one more evaluation.
    """

    sampler: SamplerName
    steps: int
    eta: float = 0.0
    shifted: bool = False

    @property
    def name(self) -> str:
        """Such as `ddim, eta 1, shifted`."""
        return self.sampler + (f", eta {self.eta:g}" if self.eta else "") + (", shifted" if self.shifted else "")

    @property
    def evaluations(self) -> int:
        """Network evaluations a member and slice."""
        return self.steps + self.shifted


@dataclass(frozen=True, eq=False)
class Model:
    """A network ready for sampling.

    Attributes
    ----------
    network : Prepared
        On its device, in the engine's way.
    recipe : Recipe
        How it is used.
    device : torch.device
        Where it is.
    digest : str
        Of its weights and its arithmetic.
    batch : int
        Rows evaluated at once.
    """

    network: Prepared
    recipe: Recipe
    device: torch.device
    digest: str
    batch: int

    def members(self, subject: HeldOut, chain: Chain, count: int, *, cells: Cells, budget: Budget) -> Bool:
        """The first `count` members, (count, S, U, V), bool; each is kept on disk and computed once.

        Noise is that of a run with seed 0, so members are those of `predict` on the same slices.
        """
        shape = subject.probability.shape
        keys = [f"{self.digest}/{subject.digest}/{subject.slices}/{chain}/member {k}" for k in range(count)]
        missing = [k for k in range(count) if not cells.holds(keys[k])]
        # A few members at once: the batch is full, and a run that is stopped loses little.
        group = max(1, self.batch // len(subject.slices))
        done: dict[int, Bool] = {}
        for start in range(0, len(missing), group):
            some = missing[start : start + group]
            masks = self._sample(subject, chain, some, budget)
            for k, mask in zip(some, masks, strict=True):
                done[k] = cells.masks(keys[k], shape, _given(mask))
        return np.stack([done[k] if k in done else cells.masks(keys[k], shape, _never) for k in range(count)])

    def missing_rows(self, subject: HeldOut, chain: Chain, count: int, *, cells: Cells) -> int:
        """Evaluations of one slice that `members` would still take."""
        keys = (f"{self.digest}/{subject.digest}/{subject.slices}/{chain}/member {k}" for k in range(count))
        return sum(not cells.holds(key) for key in keys) * len(subject.slices) * chain.evaluations

    def posterior_mean(self, subject: HeldOut, *, draws: int, cells: Cells, budget: Budget) -> npt.NDArray[np.float32]:
        """One evaluation at the noisiest timestep: the mean of all masks, (S, U, V) in [0, 1].

        Every second one is of the mirror image where the recipe says so; two are then a run's one-step estimate.

        Parameters
        ----------
        subject : HeldOut
            The phantom.
        draws : int
            Noises averaged over.
        cells, budget : Cells, Budget
            Where it is kept and what it may take.
        """
        key = f"{self.digest}/{subject.digest}/{subject.slices}/posterior mean of {draws}"
        key += ", mirrored" if self.recipe.mirror and draws > 1 else ""
        return np.asarray(cells.map(key, lambda: self._posterior_mean(subject, draws, budget)), np.float32)

    def smoothed_mean(
        self, subject: HeldOut, members: Bool, *, cells: Cells, budget: Budget
    ) -> npt.NDArray[np.float32] | None:
        """The smoothed probability of `members` by the engine, (S, U, V) in [0, 1]; None without smoothing.

        In the plane of each slice alone, as slices lie apart here.
        """
        u, v = (size for axis, size in enumerate(subject.spacing_mm) if axis != subject.grid.slice_axis)
        smoothing = Smoothing(0.0, (self.recipe.smoothing_mm / u, self.recipe.smoothing_mm / v))
        if smoothing.is_none:
            return None
        votes, count = members.sum(axis=0, dtype=np.uint16), len(members)
        shares = votes.astype(np.float32) / count
        if self.recipe.prediction != "epsilon":
            shares = self.posterior_mean(subject, draws=2 if self.recipe.mirror else 1, cells=cells, budget=budget)
        planes = zip(votes, shares, strict=True)
        joint = [smoothing.on_slice(v[None], count, [share[None]], [0]) for v, share in planes]
        return np.asarray(np.concatenate(joint), np.float32)

    def _posterior_mean(self, subject: HeldOut, draws: int, budget: Budget) -> npt.NDArray[np.float32]:
        schedule = self._schedule(1)
        total = torch.zeros(len(subject.slices), 1, *subject.image.shape[-2:])
        for k in range(draws):
            began = time.monotonic()
            mirroring = Mirroring.of_members(self.recipe, [k for _ in subject.slices], self.device)
            denoiser = self._denoiser(mirroring(subject.image.to(self.device)), schedule)
            total += mirroring(denoiser(self._noise(subject, [k])(), 0).x0).cpu()
            budget.count(len(subject.slices), time.monotonic() - began)
        mean = (total / draws)[:, 0].numpy()
        planes = zip(mean, subject.slices, strict=True)
        return np.stack(
            [decode_preview(m, subject.grid, self.recipe, rim=subject.rim, slice_index=s) for m, s in planes]
        )

    def _sample(self, subject: HeldOut, chain: Chain, members: list[int], budget: Budget) -> Bool:
        began = time.monotonic()
        schedule = self._schedule(chain.steps)
        mirroring = Mirroring.of_members(self.recipe, [k for k in members for _ in subject.slices], self.device)
        image = mirroring(subject.image.to(self.device).repeat(len(members), 1, 1, 1))
        noise: NoiseSource = self._noise(subject, members)
        with torch.inference_mode():
            denoiser = self._denoiser(image, schedule)
            if chain.shifted:
                noise = _Shifted(noise, denoiser, schedule)
            x = mirroring(_last(chain, denoiser, schedule, noise))
        slices = subject.slices * len(members)
        masks: Bool = decode_masks(x.float().cpu().numpy(), subject.grid, self.recipe, rim=subject.rim, slices=slices)[
            0
        ]
        budget.count(len(image) * chain.evaluations, time.monotonic() - began)
        return masks.reshape(len(members), len(subject.slices), *masks.shape[1:])

    def _noise(self, subject: HeldOut, members: list[int]) -> SeededNoise:
        seeds = [member_seed(0, k, s) for k in members for s in subject.slices]
        return SeededNoise(seeds, (len(self.recipe.labels), *subject.image.shape[-2:]), self.device)

    def _schedule(self, steps: int) -> Schedule:
        total = self.recipe.train_timesteps
        kept = None if steps == total else respaced_timesteps(total, steps)
        return make_schedule(self.recipe.schedule, total, timesteps=kept)

    def _denoiser(self, image: torch.Tensor, schedule: Schedule) -> ConditionedDenoiser:
        r = self.recipe
        return ConditionedDenoiser(
            self.network,
            image.to(self.device),
            schedule,
            prediction=r.prediction,
            variance=r.variance,
            clip=r.clip,
            rescale_timesteps=r.rescale_timesteps,
        )


class _Shifted:
    """Noise whose first draw holds the signal that the last timestep of training still held."""

    def __init__(self, noise: NoiseSource, denoiser: ConditionedDenoiser, schedule: Schedule) -> None:
        self._noise, self._denoiser = noise, denoiser
        self._index, self._kept = len(schedule) - 1, float(schedule.alphas_cumprod[-1])
        self._first = True

    def __call__(self) -> torch.Tensor:
        z = self._noise()
        if not self._first:
            return z
        self._first = False
        return math.sqrt(1 - self._kept) * z + math.sqrt(self._kept) * self._denoiser(z, self._index).x0


def _last(chain: Chain, denoiser: ConditionedDenoiser, schedule: Schedule, noise: NoiseSource) -> torch.Tensor:
    match chain.sampler:
        case "ddpm":
            steps = sample_ddpm(denoiser, schedule, noise)
        case "ddim":
            steps = sample_ddim(denoiser, schedule, noise, eta=chain.eta)
        case "dpmpp":
            steps = sample_dpmpp(denoiser, schedule, noise)
    for step in steps:
        x = step.x
    return x


def _given(mask: Bool) -> Callable[[], Bool]:
    return lambda: mask


def _never() -> Bool:
    raise AssertionError("this member is on disk")
