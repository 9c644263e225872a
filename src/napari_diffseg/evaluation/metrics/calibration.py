"""Calibration: where the model says 70 %, do 70 % of the voxels hold lesion."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_diffseg.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

_ROUNDING = 1e-6  # float32 shares of members, such as 0.7, lie just below the edge they mean


@dataclass(frozen=True, slots=True)
class Reliability:
    """Voxels counted by the probability that they were given, in bins of one width.

    Attributes
    ----------
    count : tuple of int, (B,)
        Voxels whose probability lies in [b / B, (b + 1) / B); the last bin includes 1.
    sum_probability, sum_outcome : tuple of float, (B,)
        Sums over those voxels of the probability, and of the share of readers that see lesion.
    """

    count: tuple[int, ...]
    sum_probability: tuple[float, ...]
    sum_outcome: tuple[float, ...]

    @property
    def confidence(self) -> tuple[float, ...]:
        """Mean probability of each bin, NaN where it is empty."""
        return tuple(s / n if n else math.nan for s, n in zip(self.sum_probability, self.count, strict=True))

    @property
    def frequency(self) -> tuple[float, ...]:
        """Share of lesion in each bin, NaN where it is empty."""
        return tuple(s / n if n else math.nan for s, n in zip(self.sum_outcome, self.count, strict=True))

    @property
    def ece(self) -> float:
        """Expected calibration error: mean gap of the bins, weighted by their voxels; NaN without voxels."""
        total = sum(self.count)
        gaps = sum(abs(p - y) for p, y in zip(self.sum_probability, self.sum_outcome, strict=True))
        return gaps / total if total else math.nan

    @property
    def ace(self) -> float:
        """Average calibration error: mean gap of the bins that hold voxels; NaN without voxels."""
        gaps = [abs(p - y) for p, y in zip(self.confidence, self.frequency, strict=True) if not math.isnan(p)]
        return sum(gaps) / len(gaps) if gaps else math.nan


def reliability(probability: npt.NDArray[np.floating], outcome: npt.NDArray[np.floating], *, bins: int) -> Reliability:
    """Count voxels by the probability that they were given.

    Parameters
    ----------
    probability : ndarray, (V,), float
        In [0, 1].
    outcome : ndarray, (V,), float
        Share of the readers that see lesion; 0 or 1 with one reader. Each reader thus counts as one observation.
    bins : int
        At least 2.

    Returns
    -------
    Reliability

    Raises
    ------
    BadRequest
        If there are fewer than two bins.

    References
    ----------
    Guo et al. 2017, arXiv:1706.04599, equation 3, on the probability of lesion rather than of the likelier class.
    """
    if bins < 2:
        raise BadRequest(f"{bins} bins are too few for a reliability curve: ask for at least 2.")
    which = np.minimum((probability.astype(np.float64) * bins + _ROUNDING).astype(np.intp), bins - 1)
    count = np.bincount(which, minlength=bins)
    sums = [np.bincount(which, weights=values, minlength=bins) for values in (probability, outcome)]
    return Reliability(
        count=tuple(int(n) for n in count),
        sum_probability=tuple(float(s) for s in sums[0]),
        sum_outcome=tuple(float(s) for s in sums[1]),
    )


def pooled(curves: Sequence[Reliability]) -> Reliability:
    """The curve of all voxels of several cases; all curves have the same number of bins, and there is at least one."""
    return Reliability(
        count=tuple(sum(n) for n in zip(*(c.count for c in curves), strict=True)),
        sum_probability=tuple(sum(s) for s in zip(*(c.sum_probability for c in curves), strict=True)),
        sum_outcome=tuple(sum(s) for s in zip(*(c.sum_outcome for c in curves), strict=True)),
    )


def brier(probability: npt.NDArray[np.floating], outcome: npt.NDArray[np.floating]) -> float:
    """Mean squared difference between probability and each reader's 0 or 1; NaN without voxels.

    Parameters
    ----------
    probability : ndarray, (V,), float
        In [0, 1].
    outcome : ndarray, (V,), float
        Share of the readers that see lesion, y. The mean over readers of (p - y_r)^2 is p^2 - 2 p y + y.
    """
    if probability.size == 0:
        return math.nan
    p, y = probability.astype(np.float64), outcome.astype(np.float64)
    return float((p * p - 2 * p * y + y).mean())
