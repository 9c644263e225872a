"""What a step is shown: every number in it a pure function of the seed and the example's number."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset

from napari_diffseg.regions import nest
from napari_diffseg.training.augment import Augmentation
from napari_diffseg.training.loss import Example, place_timestep
from napari_diffseg.training.source import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_diffseg.training.config import TrainingConfig
    from napari_diffseg.training.pool import Pool


class Examples(Dataset[Example]):
    """Examples by number, without end.

    Example n is the same whoever asks, whenever, in whichever process: so the order of the data needs no state, and a
    training does not depend on how many processes or workers share it, except for rounding.

    Parameters
    ----------
    pool : Pool
        Where slices come from.
    config : TrainingConfig
        How they are drawn, changed and diffused.
    """

    def __init__(self, pool: Pool, config: TrainingConfig) -> None:
        self._pool = pool
        self._config = config
        lesion = pool.has_lesion()
        self._with, self._without = np.flatnonzero(lesion), np.flatnonzero(~lesion)
        self._augmentation: Augmentation | None = None

    def __getitem__(self, number: int) -> Example:
        config, recipe = self._config, self._config.recipe
        rng = np.random.default_rng((config.seed, number))
        row = self._row(rng)
        masks = self._pool.masks[self._pool.first[row] : self._pool.first[row + 1]]
        image = np.asarray(self._pool.images[row], np.float32)
        mask, known = draw_reader(masks, rng)
        mask = nest(mask, recipe.regions)  # of different readers they may not be
        image, mask = self._changed(image, mask, seed=int(rng.integers(2**32)))
        encoded = recipe.mask_low + (recipe.mask_high - recipe.mask_low) * mask
        timestep = place_timestep(rng.random(), rng.random(), recipe.train_timesteps, noisiest=config.loss.noisiest)
        return {
            "image": torch.from_numpy(image),
            "mask": torch.from_numpy(encoded.astype(np.float32)),
            "timestep": torch.tensor(timestep),
            "noise": torch.from_numpy(rng.standard_normal(mask.shape, np.float32)),
            "known": torch.from_numpy(known),
        }

    def _row(self, rng: np.random.Generator) -> int:
        """A slice: by stratum where both are there and a share is set, else any."""
        share = self._config.data.empty_share
        choice, place = rng.random(), rng.random()
        rows: npt.NDArray[np.int64] = np.arange(len(self._pool))
        if share is not None and len(self._with) and len(self._without):
            rows = self._without if choice < share else self._with
        return int(rows[int(place * len(rows))])

    def _changed(
        self, image: npt.NDArray[np.float32], mask: npt.NDArray[np.float32], *, seed: int
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        settings = self._config.augmentation
        if settings.kind == "off" and not settings.missing and not settings.bias:
            return image, mask
        if self._augmentation is None:  # made where it is used: in a worker, if there are any
            self._augmentation = Augmentation(kind=settings.kind, missing=settings.missing, bias=settings.bias)
        return self._augmentation(image, mask, seed=seed)


def draw_reader(
    masks: npt.NDArray[np.uint8], rng: np.random.Generator
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """The mask that one reader drew of a slice; of a region that this one did not draw, that of another.

    Parameters
    ----------
    masks : ndarray, (R, M, H, W), uint8
        As `Slices` has them of one slice.
    rng : Generator
        Draws the reader, each as likely as the others.

    Returns
    -------
    mask : ndarray, (M, H, W), float32
        0 and 1; 0 where nobody drew the region.
    known : ndarray, (M,), float32
        1 where somebody did.
    """
    drawn = masks[:, :, 0, 0] != UNKNOWN
    reader = int(rng.integers(len(masks)))
    mask = np.zeros(masks.shape[1:], np.float32)
    for m, who in enumerate(drawn.T):
        others = np.flatnonzero(who)
        if others.size:
            mask[m] = masks[reader if who[reader] else others[rng.integers(others.size)], m]
    return mask, drawn.any(axis=0).astype(np.float32)


class BatchNumbers:
    """Batches of numbers for a `DataLoader`: step s shows the numbers from s * size on, shared by parts and processes.

    Parameters
    ----------
    first_step, last_step : int
        Half-open range of steps.
    each : int
        Slices of one process in one part of a step.
    parts, rank, processes : int
        Parts of a step; this process among how many.
    """

    def __init__(self, first_step: int, last_step: int, each: int, parts: int, rank: int, processes: int) -> None:
        self._steps = range(first_step, last_step)
        self._each, self._parts, self._rank, self._processes = each, parts, rank, processes

    def __len__(self) -> int:
        return len(self._steps) * self._parts

    def __iter__(self) -> Iterator[list[int]]:
        for step in self._steps:
            for part in range(self._parts):
                begin = ((step * self._parts + part) * self._processes + self._rank) * self._each
                yield list(range(begin, begin + self._each))
