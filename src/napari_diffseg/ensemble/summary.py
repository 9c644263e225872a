"""How the votes of an ensemble are summed up: a consensus rule and a measure of uncertainty, exact, by tables."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
from scipy.special import entr

from napari_diffseg.errors import BadRequest
from napari_diffseg.recipe import HIGHEST_SMOOTHING_MM

if TYPE_CHECKING:
    from napari_diffseg.ensemble.smoothing import Votes

Float = npt.NDArray[np.float32]
Bool = npt.NDArray[np.bool_]

MAJORITY: Final = 0.5
LOWEST_THRESHOLD: Final = 0.05
HIGHEST_THRESHOLD: Final = 0.95


class Rule(Enum):
    """How members become one mask."""

    MAJORITY = "majority"
    MEAN = "mean at threshold"
    STAPLE = "STAPLE"


class Measure(Enum):
    """What is called the uncertainty of a voxel; the value is its name on the screen."""

    VARIANCE = "variance"
    ENTROPY = "entropy"
    DISAGREEMENT = "disagreement"

    @property
    def unit(self) -> str:
        """Unit of the values, empty for a pure number."""
        return "bits" if self is Measure.ENTROPY else ""

    @property
    def largest(self) -> float:
        """The largest value that any number of members can give."""
        return 0.5 if self is Measure.VARIANCE else 1.0


@dataclass(frozen=True, slots=True)
class Summary:
    """How an ensemble is summed up.

    Attributes
    ----------
    rule : Rule
        How members become one mask.
    threshold : float
        Mean above which a voxel is in the mask under `Rule.MEAN`, 0.05 to 0.95; other rules do not ask for it.
    measure : Measure
        What the uncertainty is.
    smoothing_mm : float or None
        Gaussian by which a voxel's neighbourhood votes, too, 0 to 5 mm; None is what the run's checkpoint says.
        STAPLE's mask is made of the members as they are.

    Raises
    ------
    BadRequest
        If the threshold or the smoothing is out of its bounds.
    """

    rule: Rule = Rule.MAJORITY
    threshold: float = MAJORITY
    measure: Measure = Measure.VARIANCE
    smoothing_mm: float | None = None

    def __post_init__(self) -> None:
        if not LOWEST_THRESHOLD <= self.threshold <= HIGHEST_THRESHOLD:
            raise BadRequest(
                f"Threshold {self.threshold} of the mean: give one from {LOWEST_THRESHOLD} to {HIGHEST_THRESHOLD}."
            )
        if self.smoothing_mm is not None and not 0 <= self.smoothing_mm <= HIGHEST_SMOOTHING_MM:
            raise BadRequest(f"Smoothing of {self.smoothing_mm} mm: give one from 0 to {HIGHEST_SMOOTHING_MM:g}.")

    @property
    def words(self) -> str:
        """The rule in words, such as `majority` or `mean above 0.3`."""
        return f"mean above {self.threshold:g}" if self.rule is Rule.MEAN else self.rule.value

    @property
    def by_votes(self) -> Summary:
        """The same, with the majority where the rule asks for more than votes."""
        return replace(self, rule=Rule.MAJORITY) if self.rule is Rule.STAPLE else self

    def consensus(self, votes: Votes, count: int) -> Bool:
        """Voxels in the mask: those whose mean is above the threshold, strictly; half the members are no majority.

        Parameters
        ----------
        votes : ndarray of int or float32, any shape
            Members that hold the voxel, 0 to `count`; an average of several voxels may lie between.
        count : int
            Members that voted. With 0 the mask is empty.

        Returns
        -------
        ndarray of bool, shape of `votes`

        Raises
        ------
        BadRequest
            If the rule is STAPLE, which `consensus_of` asks of the members themselves.
        """
        if self.rule is Rule.STAPLE:
            raise BadRequest("STAPLE needs the members themselves: votes are not enough.")
        threshold = MAJORITY if self.rule is Rule.MAJORITY else self.threshold
        return np.asarray(mean_of(votes, count) > threshold)

    def uncertainty(self, votes: Votes, count: int) -> Float:
        """Uncertainty of each voxel by `measure`; 0 while `count` is below 2, when none of them exists.

        Parameters
        ----------
        votes, count :
            As of `consensus`.

        Returns
        -------
        ndarray of float32, shape of `votes`
        """
        if np.issubdtype(votes.dtype, np.integer):  # few whole numbers: nothing is computed twice
            return _measured(self.measure, np.arange(count + 1), count)[votes]
        return _measured(self.measure, votes, count)


def mean_of(votes: Votes, count: int) -> Float:
    """Share of the members that hold each voxel, float32, 0 where nobody voted."""
    return np.asarray(votes / np.float32(max(count, 1)), np.float32)


def _measured(measure: Measure, votes: Votes, count: int) -> Float:
    """The measure of each number of votes, the shape of `votes`; 0 with fewer than two members.

    With n members and v votes, p = v / n: the unbiased variance is p (1 - p) n / (n - 1), the entropy
    -p log2 p - (1 - p) log2 (1 - p), and of the n (n - 1) / 2 pairs v (n - v) disagree, which is twice the variance.
    """
    if count < 2:
        return np.zeros(votes.shape, np.float32)
    v = votes.astype(np.float64)
    if measure is Measure.ENTROPY:
        p = v / count
        values = (entr(p) + entr(1 - p)) / np.log(2)
    else:
        disagreement = 2 * v * (count - v) / (count * (count - 1))
        values = disagreement / 2 if measure is Measure.VARIANCE else disagreement
    return np.asarray(values, np.float32)
