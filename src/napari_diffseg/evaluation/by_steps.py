"""What more denoising steps bring: the same cases, predicted several times."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_diffseg.evaluation.case_scores import CaseScores


@dataclass(frozen=True, slots=True)
class StepsScores:
    """The cases that all predictions share, predicted with one sampler in one number of steps.

    Attributes
    ----------
    sampler : str
        Its name in run.json.
    timesteps : int
        Denoising steps of each member.
    cases : int
        How many cases the means are of, the same for all.
    dice : tuple of float
        Of each case, by name; `mean_dice` is their mean.
    ece, ged_squared : float
        Means over the cases; NaN where one has none.
    """

    sampler: str
    timesteps: int
    cases: int
    dice: tuple[float, ...]
    mean_dice: float
    ece: float
    ged_squared: float


def compare_steps(scores: Iterable[CaseScores]) -> tuple[StepsScores, ...]:
    """Put cases together by the sampler and the steps that their run.json states.

    Parameters
    ----------
    scores : iterable of CaseScores
        Of several predictions of the same cases. Of two with equal steps the first counts; one that does not state its
        steps is left out, and so is a case that was not predicted with all of them.

    Returns
    -------
    tuple of StepsScores
        By sampler, then steps; empty unless there are two to compare.
    """
    groups: dict[tuple[str, int], dict[str, CaseScores]] = {}
    for case in scores:
        if case.timesteps is not None:
            groups.setdefault((case.sampler, case.timesteps), {}).setdefault(case.case, case)
    shared = sorted(set.intersection(*(set(group) for group in groups.values()))) if groups else []
    if len(groups) < 2 or not shared:
        return ()
    return tuple(_of(key, [groups[key][name] for name in shared]) for key in sorted(groups))


def _of(key: tuple[str, int], cases: list[CaseScores]) -> StepsScores:
    dice = tuple(case.overlap.dice for case in cases)
    return StepsScores(
        *key,
        cases=len(cases),
        dice=dice,
        mean_dice=fmean(dice),
        ece=fmean(math.nan if c.calibration is None else c.calibration.ece for c in cases),
        ged_squared=fmean(math.nan if c.distribution is None else c.distribution.ged_squared for c in cases),
    )
