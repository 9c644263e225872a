"""Validation as users will see it: held-out cases, segmented by an ensemble, against their readers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_diffseg.checkpoint import Checkpoint
from napari_diffseg.ensemble.ensemble import Ensemble
from napari_diffseg.evaluation.metrics.calibration import Reliability, pooled, reliability
from napari_diffseg.evaluation.metrics.distribution import compare_distributions
from napari_diffseg.evaluation.metrics.overlap import dice
from napari_diffseg.events import Sampled, SegmentRequest, Started
from napari_diffseg.imaging.grid import Grid
from napari_diffseg.imaging.intensity import brain_mask
from napari_diffseg.segmenting.segmenter import LocalSegmenter

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt
    import torch

    from napari_diffseg.networks.config import UNetConfig
    from napari_diffseg.recipe import Recipe
    from napari_diffseg.training.config import ValidationSettings
    from napari_diffseg.training.source import LabelledCase

_BINS = 10


@dataclass(frozen=True, slots=True)
class CaseFigures:
    """One case's: Dice of the majority with the readers' majority, calibration in the brain, squared GED."""

    dice: float
    curve: Reliability
    ged_squared: float


@dataclass(frozen=True, slots=True)
class Figures:
    """Of all validated cases.

    Attributes
    ----------
    dice : float
        Mean over cases, in [0, 1]; 1 where both are empty.
    ece : float
        Expected calibration error of all brain voxels together.
    ged_squared : float
        Mean over cases of the squared generalised energy distance, 0 for the same distribution.
    """

    dice: float
    ece: float
    ged_squared: float


def average_checkpoint(state: Mapping[str, torch.Tensor], recipe: Recipe, config: UNetConfig) -> Checkpoint:
    """Weights in training as the segmenter wants them."""
    on_host = {name: tensor.detach().cpu() for name, tensor in state.items()}
    return Checkpoint(Path("in training"), recipe, config, on_host, digest="", kind="in training")


def validate_case(
    labelled: LabelledCase, checkpoint: Checkpoint, settings: ValidationSettings, *, device: str
) -> CaseFigures:
    """Segment a case and measure it on the slices that were segmented.

    Parameters
    ----------
    labelled : LabelledCase
        Held out.
    checkpoint : Checkpoint
        What to sample with.
    settings : ValidationSettings
        Members, steps, slices. The seed is always 0, so that figures can be compared.
    device : str
        As a request names it.

    Raises
    ------
    RunFailed
        As `LocalSegmenter.segment`.
    """
    axis, chosen = _slices(labelled, checkpoint.recipe, settings.slices)
    request = SegmentRequest(
        members=settings.members,
        timesteps=settings.timesteps,
        device=device,
        slices=f"{chosen.start}:{chosen.stop}",
    )
    ensemble: Ensemble | None = None
    for event in LocalSegmenter(checkpoint, preview_interval_s=None).segment(labelled.case, request):
        if isinstance(event, Started):
            ensemble = Ensemble.for_run(event)
        elif isinstance(event, Sampled) and ensemble is not None:
            ensemble.add(event.member, event.slices, event.mask)
    assert ensemble is not None  # a run begins with Started
    members = np.stack([ensemble.member(k)[0].take(chosen, axis=axis) for k in ensemble.members])
    readers = labelled.readers.take(chosen, axis=axis + 1)
    brain = brain_mask(list(labelled.case.volumes.values())).take(chosen, axis=axis)
    return _measured(members, readers, brain)


def summary(cases: Sequence[CaseFigures]) -> Figures:
    """Figures of several cases; NaN without any."""
    if not cases:
        return Figures(math.nan, math.nan, math.nan)
    return Figures(
        dice=float(np.mean([c.dice for c in cases])),
        ece=pooled([c.curve for c in cases]).ece,
        ged_squared=float(np.mean([c.ged_squared for c in cases])),
    )


def _measured(
    members: npt.NDArray[np.bool_], readers: npt.NDArray[np.bool_], brain: npt.NDArray[np.bool_]
) -> CaseFigures:
    """From members (K, ...), readers (R, ...) and where the brain is (...)."""
    return CaseFigures(
        dice=dice(2 * members.sum(axis=0) > len(members), 2 * readers.sum(axis=0) > len(readers)),
        curve=reliability(members.mean(axis=0)[brain], readers.mean(axis=0)[brain], bins=_BINS),
        ged_squared=compare_distributions(members, readers).ged_squared,
    )


def _slices(labelled: LabelledCase, recipe: Recipe, count: int | None) -> tuple[int, range]:
    """The slice axis, and `count` source slices about the middle of the lesion (of the volume, where there is none)."""
    case = labelled.case
    grid = Grid.plan(case.shape, case.affine, axis_codes=recipe.axis_codes, size=recipe.size, fit=recipe.fit)
    if count is None or count >= grid.n_slices:
        return grid.slice_axis, range(grid.n_slices)
    across = tuple(axis for axis in range(3) if axis != grid.slice_axis)
    lesion = np.asarray(labelled.readers.any(axis=0))
    hit = np.flatnonzero(lesion.any(axis=across))
    middle = int(hit.mean()) if hit.size else grid.n_slices // 2
    first = min(max(middle - count // 2, 0), grid.n_slices - count)
    return grid.slice_axis, range(first, first + count)
