"""Validation as users will see it: held-out cases, segmented by an ensemble, against their readers."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from napari_diffseg.checkpoint import Checkpoint
from napari_diffseg.ensemble.dice import dice
from napari_diffseg.ensemble.ensemble import Ensemble
from napari_diffseg.evaluation.metrics.calibration import Reliability, pooled, reliability
from napari_diffseg.evaluation.metrics.distribution import compare_distributions
from napari_diffseg.events import Sampled, SegmentRequest, Started
from napari_diffseg.imaging.geometry.grid import Grid
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

MEASURES: Final = ("dice", "ece", "ged_squared")


@dataclass(frozen=True, slots=True)
class RegionFigures:
    """One region of a case: Dice of the majority with the readers', calibration in the brain, squared GED."""

    dice: float
    curve: Reliability
    ged_squared: float


@dataclass(frozen=True, slots=True)
class CaseFigures:
    """One case's, by region in the order of the recipe's labels; None for a region that no reader drew."""

    regions: tuple[RegionFigures | None, ...]


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
    regions : mapping of str to Figures
        Where several regions are learned, those of each, over the cases in which it is known, NaN where it is in none;
        the figures above are then the means over regions, without those. Empty where there is one region.
    """

    dice: float
    ece: float
    ged_squared: float
    regions: Mapping[str, Figures] = field(default_factory=dict)

    def columns(self) -> dict[str, float]:
        """As numbers with names: `dice`, ..., and of each of several regions `dice NAME`, ..."""
        own = {name: float(getattr(self, name)) for name in MEASURES}
        return own | {f"{m} {name}": v for name, of in self.regions.items() for m, v in of.columns().items()}

    @classmethod
    def from_columns(cls, values: Mapping[str, float]) -> Figures:
        """What `columns` gives, back."""
        names = [column.removeprefix("dice ") for column in values if column.startswith("dice ")]
        own, *each = [[values[f"{m}{tail}"] for m in MEASURES] for tail in ("", *(f" {name}" for name in names))]
        return cls(own[0], own[1], own[2], {n: cls(e[0], e[1], e[2]) for n, e in zip(names, each, strict=True)})


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
    brain = brain_mask(list(labelled.case.volumes.values())).take(chosen, axis=axis)
    drawn = [labelled.of_region(m).take(chosen, axis=axis + 1) for m in range(len(checkpoint.recipe.labels))]
    sampled = [ensemble.member(k).take(chosen, axis=axis + 1) for k in ensemble.members]
    members = np.stack(sampled, axis=1)
    return CaseFigures(
        tuple(measured(mine, r, brain) if len(r) else None for mine, r in zip(members, drawn, strict=True))
    )


def summary(cases: Sequence[CaseFigures], labels: Sequence[str] = ("lesion",)) -> Figures:
    """Figures of several cases, whose regions are the labels; NaN without any."""
    by_region = [[c.regions[m] for c in cases] for m in range(len(labels))]
    regions = {name: _of_region([f for f in of if f is not None]) for name, of in zip(labels, by_region, strict=True)}
    if len(regions) == 1:
        return next(iter(regions.values()))
    known = [f for f in regions.values() if not math.isnan(f.dice)]
    dice_, ece, ged = (float(np.mean([getattr(f, m) for f in known])) if known else math.nan for m in MEASURES)
    return Figures(dice_, ece, ged, regions)


def _of_region(cases: Sequence[RegionFigures]) -> Figures:
    if not cases:
        return Figures(math.nan, math.nan, math.nan)
    return Figures(
        dice=float(np.mean([c.dice for c in cases])),
        ece=pooled([c.curve for c in cases]).ece,
        ged_squared=float(np.mean([c.ged_squared for c in cases])),
    )


def measured(
    members: npt.NDArray[np.bool_], readers: npt.NDArray[np.bool_], brain: npt.NDArray[np.bool_]
) -> RegionFigures:
    """Of one region, from members (K, ...), readers (R, ...) and where the brain is (...)."""
    return RegionFigures(
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
    lesion = np.asarray(labelled.readers.any(axis=(0, 1)))
    hit = np.flatnonzero(lesion.any(axis=across))
    middle = int(hit.mean()) if hit.size else grid.n_slices // 2
    first = min(max(middle - count // 2, 0), grid.n_slices - count)
    return grid.slice_axis, range(first, first + count)
