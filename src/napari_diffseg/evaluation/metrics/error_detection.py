"""Whether uncertainty is where the errors are: AUROC, and the risk that remains when the uncertain is set aside."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

_POINTS = 101


@dataclass(frozen=True, slots=True)
class RiskCoverage:
    """Mean risk of what is kept when the most uncertain is set aside.

    Attributes
    ----------
    coverage, risk : tuple of float
        Share that is kept, increasing to 1, and its mean risk: at most 101 points evenly, and the end of each level of
        uncertainty where there are no more than 100 levels, so that few members lose nothing.
    aurc : float
        Mean risk over all coverages.
    excess : float
        How much of it a perfect order, errors last, would have saved; 0 is the best there is.
    """

    coverage: tuple[float, ...]
    risk: tuple[float, ...]
    aurc: float
    excess: float


def auroc(uncertainty: npt.NDArray[np.floating], wrong: npt.NDArray[np.bool_]) -> float:
    """The chance that a wrong voxel is more uncertain than a right one; ties count half.

    Parameters
    ----------
    uncertainty : ndarray, (V,), float
        On any scale: only its order counts.
    wrong : ndarray, (V,), bool
        Where the mask is not the truth.

    Returns
    -------
    float
        In [0, 1]; NaN where all voxels are right, or all wrong.

    References
    ----------
    The Mann-Whitney statistic, divided by the number of pairs.
    """
    errors, total = int(wrong.sum()), wrong.size
    if errors in (0, total):
        return math.nan
    ranks = rankdata(uncertainty)
    above = float(ranks[wrong].sum()) - errors * (errors + 1) / 2
    return above / (errors * (total - errors))


def risk_coverage(uncertainty: npt.NDArray[np.floating], risk: npt.NDArray[np.floating]) -> RiskCoverage:
    """The risk-coverage curve and the area under it.

    Things of the same uncertainty have no order; each counts with their mean risk, which is what a random order gives
    on average. Ensembles of few members have few levels, and without this the curve would depend on the voxel order.

    Parameters
    ----------
    uncertainty : ndarray, (N,), float
        Of voxels or of cases; N at least 1.
    risk : ndarray, (N,), float
        Of the same: 1 for a wrong voxel and 0 for a right one, or 1 - Dice of a case.

    Returns
    -------
    RiskCoverage

    References
    ----------
    Geifman, Uziel & El-Yaniv 2019, arXiv:1805.08206, section 3 (AURC and its excess).
    """
    risk = risk.astype(np.float64)
    _, level = np.unique(uncertainty, return_inverse=True)
    size = np.bincount(level)
    mean_risk = np.bincount(level, weights=risk) / size
    kept = np.arange(1, risk.size + 1)
    selective = np.cumsum(np.repeat(mean_risk, size)) / kept
    best = np.cumsum(np.sort(risk)) / kept
    shown = np.linspace(0, risk.size - 1, _POINTS).round().astype(np.intp)
    if size.size < _POINTS:
        shown = np.concatenate([shown, np.cumsum(size) - 1])
    shown = np.unique(shown)
    aurc = float(selective.mean())
    return RiskCoverage(
        coverage=tuple(float(c) for c in kept[shown] / risk.size),
        risk=tuple(float(r) for r in selective[shown]),
        aurc=aurc,
        excess=aurc - float(best.mean()),
    )
