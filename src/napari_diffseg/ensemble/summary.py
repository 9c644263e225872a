"""How the members of an ensemble become one mask, and what is called their uncertainty."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np
import numpy.typing as npt
from scipy.special import entr

from napari_diffseg.ensemble.smoothing import share_of_votes
from napari_diffseg.errors import BadRequest
from napari_diffseg.recipe import HIGHEST_SMOOTHING_MM

if TYPE_CHECKING:
    from napari_diffseg.ensemble.smoothing import Votes
    from napari_diffseg.recipe import RuleName

Float = npt.NDArray[np.float32]
Bool = npt.NDArray[np.bool_]

MAJORITY: Final = 0.5
LOWEST_THRESHOLD: Final = 0.05
HIGHEST_THRESHOLD: Final = 0.95


class Rule(Enum):
    """How members become one mask; the value is the word of it in files, settings and on a command line."""

    MAJORITY = "majority"
    MEAN = "mean"
    PROBABILITY = "probability"
    STAPLE = "staple"

    @classmethod
    def _missing_(cls, value: object) -> Rule | None:
        return _EARLIER_RULES.get(str(value))

    @property
    def title(self) -> str:
        """The rule as a user reads it in a list of them."""
        return _TITLES[self]


_EARLIER_RULES: Final = {"mean at threshold": Rule.MEAN, "STAPLE": Rule.STAPLE}
"""Words that settings of before have."""
_TITLES: Final = {
    Rule.MAJORITY: "majority of the members",
    Rule.MEAN: "mean above a threshold",
    Rule.PROBABILITY: "smoothed probability > 0.5",
    Rule.STAPLE: "STAPLE",
}


class Measure(Enum):
    """What is called the uncertainty of a voxel: of the members, but for the last, which is of the probability."""

    VARIANCE = "variance"
    ENTROPY = "entropy"
    DISAGREEMENT = "disagreement"
    PROBABILITY = "probability"

    @property
    def title(self) -> str:
        """The measure as a user reads it."""
        return "p (1 - p) of the smoothed probability" if self is Measure.PROBABILITY else self.value

    @property
    def unit(self) -> str:
        """Unit of the values, empty for a pure number."""
        return "bits" if self is Measure.ENTROPY else ""

    @property
    def largest(self) -> float:
        """The largest value that any number of members can give."""
        return _LARGEST[self]


_LARGEST: Final = {
    Measure.VARIANCE: 0.5,
    Measure.ENTROPY: 1.0,
    Measure.DISAGREEMENT: 1.0,
    Measure.PROBABILITY: 0.25,
}


class OwnWays(Protocol):
    """What a checkpoint says of how its members are summed up: a `Recipe`, or the `Started` of a run with it."""

    @property
    def smoothing_mm(self) -> float:
        """Gaussian smoothing of the vote map, in mm; 0 is off."""
        ...

    @property
    def rule(self) -> RuleName:
        """How its members become a mask."""
        ...

    @property
    def refined_by(self) -> str:
        """The modality whose brightness the one-step estimate is refined by; empty where it is not."""
        ...


@dataclass(frozen=True, slots=True)
class Summary:
    """How an ensemble is summed up.

    Attributes
    ----------
    rule : Rule or None
        How members become one mask; None is what the run's checkpoint says, see `of_run`.
    threshold : float
        Mean above which a voxel is in the mask under `Rule.MEAN`, 0.05 to 0.95; other rules do not ask for it.
    measure : Measure
        What the uncertainty is.
    smoothing_mm : float or None
        Gaussian smoothing of the vote map, 0 to 5 mm, for the smoothed probability; None is what the run's checkpoint
        says. Mean, variance and the other rules are of the members as they are.
    refined : bool
        Whether the smoothed probability takes the one-step estimate as it is refined by brightness, where it is.

    Raises
    ------
    BadRequest
        If the threshold or the smoothing is out of its bounds.
    """

    rule: Rule | None = None
    threshold: float = MAJORITY
    measure: Measure = Measure.VARIANCE
    smoothing_mm: float | None = None
    refined: bool = True

    def __post_init__(self) -> None:
        if not LOWEST_THRESHOLD <= self.threshold <= HIGHEST_THRESHOLD:
            raise BadRequest(
                f"Threshold {self.threshold} of the mean: give one from {LOWEST_THRESHOLD} to {HIGHEST_THRESHOLD}."
            )
        if self.smoothing_mm is not None and not 0 <= self.smoothing_mm <= HIGHEST_SMOOTHING_MM:
            raise BadRequest(f"Smoothing of {self.smoothing_mm} mm: give one from 0 to {HIGHEST_SMOOTHING_MM:g}.")

    def of_run(self, run: OwnWays) -> Summary:
        """The same for one run: rule and smoothing are those of its checkpoint where nothing else was chosen.

        Without smoothing the probability is the mean, so that a checkpoint's rule is the majority, and nothing refined
        has a part in it.
        """
        mm = run.smoothing_mm if self.smoothing_mm is None else self.smoothing_mm
        own = Rule(run.rule) if mm else Rule.MAJORITY
        refined = self.refined and bool(mm and run.refined_by)
        return replace(self, rule=self.rule or own, smoothing_mm=mm, refined=refined)

    @property
    def words(self) -> str:
        """The rule in words, such as `majority of the members` or `mean above 0.3`."""
        if self.rule is Rule.MEAN:
            return f"mean above {self.threshold:g}"
        return (self.rule or Rule.MAJORITY).title

    @property
    def rule_word(self) -> str:
        """The rule as files have it; the majority where none is chosen."""
        return (self.rule or Rule.MAJORITY).value

    @property
    def asks_for_probability(self) -> bool:
        """Whether mask or uncertainty are of the smoothed probability."""
        return self.rule is Rule.PROBABILITY or self.measure is Measure.PROBABILITY

    @property
    def by_votes(self) -> Summary:
        """The same, with the majority where the rule asks for the members themselves."""
        return replace(self, rule=Rule.MAJORITY) if self.rule is Rule.STAPLE else self

    def consensus(self, votes: Votes, count: int, probability: Float | None = None) -> Bool:
        """Voxels in the mask: those above the threshold, strictly; half the members are no majority.

        Parameters
        ----------
        votes : ndarray of int, any shape
            Members that hold the voxel, 0 to `count`.
        count : int
            Members that voted. With 0 the mask is empty.
        probability : ndarray of float32, shape of `votes`, optional
            The smoothed probability, for `Rule.PROBABILITY`; by default the members' mean.

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
        if self.rule is Rule.PROBABILITY and probability is not None:
            return np.asarray(probability > MAJORITY)
        return np.asarray(mean_of(votes, count) > (self.threshold if self.rule is Rule.MEAN else MAJORITY))

    def uncertainty(self, votes: Votes, count: int, probability: Float | None = None) -> Float:
        """Uncertainty of each voxel by `measure`; 0 while `count` is below 2, when that of members does not exist.

        Parameters
        ----------
        votes, count, probability :
            As of `consensus`; the probability is for `Measure.PROBABILITY`.

        Returns
        -------
        ndarray of float32, shape of `votes`
        """
        if self.measure is Measure.PROBABILITY:
            p = mean_of(votes, count) if probability is None else probability
            return np.asarray(p * (1 - p), np.float32)
        return _measured(self.measure, np.arange(count + 1), count)[votes]  # nothing is computed twice


mean_of = share_of_votes


def variance_of(votes: Votes, count: int) -> Float:
    """Unbiased variance of `count` binary members, float32, shape of `votes`; 0 with fewer than two members."""
    return Summary().uncertainty(votes, count)


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
