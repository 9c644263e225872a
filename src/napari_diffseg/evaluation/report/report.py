"""What an evaluation found over all cases."""

from __future__ import annotations

import math
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from statistics import fmean, median, stdev
from typing import TYPE_CHECKING, Final

import numpy as np

from napari_diffseg.evaluation.cases.by_steps import StepsScores, compare_steps
from napari_diffseg.evaluation.metrics.calibration import Reliability, pooled
from napari_diffseg.evaluation.metrics.distribution import DISTRIBUTION_RULE
from napari_diffseg.evaluation.metrics.error_detection import RiskCoverage, risk_coverage
from napari_diffseg.evaluation.metrics.overlap import EMPTY_RULE, HD95_RULE
from napari_diffseg.evaluation.metrics.qu_brats import QU_BRATS_RULE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_diffseg.evaluation.cases.case_scores import CaseScores

FORMAT: Final = 1
RULES: Final = {
    "empty masks": EMPTY_RULE,
    "distances": HD95_RULE,
    "several readers": "Masks are held against the strict majority of the readers; probabilities and distributions "
    "against every reader.",
    "slices": "Slices are counted along the axis that run.json states, without one along the last axis of the file.",
    "distribution": DISTRIBUTION_RULE,
    "calibration": "ECE, ACE and Brier score are of the smoothed probability where a run has one, else of the members' "
    "mean; the notes say which. ECE weights the bins' gaps by their voxels, ACE does not; the pooled curve adds the "
    "cases' voxels.",
    "errors": "AUROC asks whether the wrong voxels of the mask are the uncertain ones: by the members' variance, or by "
    "p (1 - p) of the smoothed probability or of the one-step estimate. AURC is the mean share of "
    "wrong voxels among those kept, over all coverages; voxels of equal uncertainty count with their mean.",
    "uncertainty score": QU_BRATS_RULE,
    "cases by uncertainty": "A case's uncertainty is 1 - the mean Dice between its members, its risk 1 - Dice.",
}
_PACKAGES = ("napari-diffseg", "numpy", "scipy", "medpy", "surface-distance")


@dataclass(frozen=True, slots=True)
class Summary:
    """One number over the cases: n that have it, and how many have it undefined; NaN where no case has it."""

    n: int
    undefined: int
    mean: float
    sd: float
    median: float
    least: float
    greatest: float


@dataclass(frozen=True, slots=True)
class Report:
    """An evaluation, as it is written to report.json.

    Attributes
    ----------
    settings : mapping
        What was asked for.
    cases : tuple of CaseScores
        By name.
    summary : mapping of str to Summary
        Each number of the cases' rows.
    reliability : Reliability or None
        Of all cases' voxels.
    ece : float
        Of that curve.
    case_risk : RiskCoverage or None
        Cases by the disagreement of their members; None with fewer than two.
    failed : mapping
        Cases that could not be measured, and why.
    without_prediction : tuple of str
        Cases whose truth is there but not their prediction.
    notes : tuple of str
        What a reader should know that is not about a case of the report, such as a folder that is not compared.
    by_steps : tuple of StepsScores
        The cases by sampler and steps, where they were predicted with several.
    """

    settings: Mapping[str, object]
    cases: tuple[CaseScores, ...]
    summary: Mapping[str, Summary]
    reliability: Reliability | None
    ece: float
    case_risk: RiskCoverage | None
    failed: Mapping[str, str]
    without_prediction: tuple[str, ...]
    notes: tuple[str, ...]
    by_steps: tuple[StepsScores, ...]
    rules: Mapping[str, str]
    versions: Mapping[str, str | None]
    format: int = FORMAT


def make_report(
    cases: Sequence[CaseScores],
    *,
    settings: Mapping[str, object],
    failed: Mapping[str, str],
    without_prediction: Sequence[str],
    notes: Sequence[str] = (),
    compared: Sequence[CaseScores] = (),
) -> Report:
    """Sum up the cases, of which there is at least one; `compared` are some, and the same ones predicted otherwise."""
    ordered = tuple(sorted(cases, key=lambda c: c.case))
    curves = [c.calibration.curve for c in ordered if c.calibration is not None]
    curve = pooled(curves) if curves else None
    return Report(
        settings=settings,
        cases=ordered,
        summary=_summaries(ordered),
        reliability=curve,
        ece=curve.ece if curve else math.nan,
        case_risk=_case_risk(ordered),
        failed=failed,
        without_prediction=tuple(without_prediction),
        notes=tuple(notes),
        by_steps=compare_steps(compared),
        rules=RULES,
        versions={name: _version(name) for name in _PACKAGES},
    )


def summarise(values: Sequence[float]) -> Summary:
    """Sum up numbers; those that are NaN are counted and left out. The sd is that of a sample, NaN for fewer than 2."""
    known = [v for v in values if not math.isnan(v)]
    undefined = len(values) - len(known)
    if not known:
        return Summary(0, undefined, *[math.nan] * 5)
    sd = stdev(known) if len(known) > 1 else math.nan
    return Summary(len(known), undefined, fmean(known), sd, median(known), min(known), max(known))


def columns(cases: Sequence[CaseScores]) -> list[str]:
    """Names of all numbers that any of the cases has, in the order of their rows."""
    return list(dict.fromkeys(name for case in cases for name in case.row()))


def _summaries(cases: Sequence[CaseScores]) -> dict[str, Summary]:
    rows = [case.row() for case in cases]
    return {name: summarise([row[name] for row in rows if name in row]) for name in columns(cases)}


def _case_risk(cases: Sequence[CaseScores]) -> RiskCoverage | None:
    known = [(1 - c.distribution.member_dice, 1 - c.overlap.dice) for c in cases if c.distribution is not None]
    known = [(u, r) for u, r in known if not math.isnan(u)]
    if len(known) < 2:
        return None
    uncertainty, risk = np.array(known).T
    return risk_coverage(uncertainty, risk)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
