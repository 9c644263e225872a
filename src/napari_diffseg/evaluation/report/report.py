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
from napari_diffseg.evaluation.metrics.lesionwise import LESIONWISE_RULE
from napari_diffseg.evaluation.metrics.overlap import EMPTY_RULE, HD95_RULE
from napari_diffseg.evaluation.metrics.qu_brats import QU_BRATS_RULE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_diffseg.evaluation.cases.case_scores import CaseScores

FORMAT: Final = 1
RULES: Final = {
    "empty masks": EMPTY_RULE,
    "distances": HD95_RULE,
    "lesions": LESIONWISE_RULE,
    "regions": "Each region is measured by itself: its own mask, members and probability against the labels of the "
    "truth that it is made of. A region that is absent in both counts with Dice 1; one that is missed, or marked where "
    "there is none, with Dice 0. Their HD95 is undefined and counted as such; hd95_brats_mm and lesion_hd95_mm have a "
    "value in every case.",
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
        By name; of cases with several regions one for each.
    regions : tuple of str
        Names of the regions; none where each case has one mask.
    summary : mapping of str to Summary
        Each number of the cases' rows, see `rows_of`.
    reliability : Reliability or None
        Of all cases' voxels, of several regions those of the first one.
    reliability_by_region : mapping of str to Reliability
        Of each region, where there are several.
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
    regions: tuple[str, ...]
    summary: Mapping[str, Summary]
    reliability: Reliability | None
    reliability_by_region: Mapping[str, Reliability]
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
    regions = tuple(dict.fromkeys(c.label for c in ordered if c.label))
    by_region = {name: curve for name in regions if (curve := _pooled(ordered, name)) is not None}
    curve = _pooled(ordered, ordered[0].label)
    return Report(
        settings=settings,
        cases=ordered,
        regions=regions,
        reliability_by_region=by_region,
        summary=_summaries(ordered),
        reliability=curve,
        ece=curve.ece if curve else math.nan,
        case_risk=_case_risk([case for case in ordered if case.label == ordered[0].label]),
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


def rows_of(cases: Sequence[CaseScores]) -> dict[str, dict[str, float]]:
    """Each case's numbers by name; of several regions each name begins with its region, as in `tumour-core_dice`."""
    rows: dict[str, dict[str, float]] = {}
    for case in cases:
        prefix = column_of(case.label, "")
        rows.setdefault(case.case, {}).update({f"{prefix}{name}": value for name, value in case.row().items()})
    return rows


def column_of(region: str, name: str) -> str:
    """What a number of a region is called in a table; of the only mask of a case, as the number is."""
    return f"{'-'.join(region.lower().split())}_{name}" if region else name


def columns(cases: Sequence[CaseScores]) -> list[str]:
    """Names of all numbers that any of the cases has, in the order of their rows."""
    return list(dict.fromkeys(name for row in rows_of(cases).values() for name in row))


def _pooled(cases: Sequence[CaseScores], region: str) -> Reliability | None:
    curves = [c.calibration.curve for c in cases if c.calibration is not None and c.label == region]
    return pooled(curves) if curves else None


def _summaries(cases: Sequence[CaseScores]) -> dict[str, Summary]:
    rows = list(rows_of(cases).values())
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
