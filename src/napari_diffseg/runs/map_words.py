"""What each file of a run holds, in a sentence: for its header, its sidecar and the run's record."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_diffseg.ensemble.summary import Measure, Rule

if TYPE_CHECKING:
    from napari_diffseg.ensemble.summary import Summary

_MEASURES = {
    Measure.VARIANCE: "unbiased variance of {count} binary members",
    Measure.ENTROPY: "entropy in bits of the vote of {count} members",
    Measure.DISAGREEMENT: "share of pairs of {count} members that disagree",
    Measure.PROBABILITY: "p (1 - p) of the {probability}",
}


def describe_map(what: str, summary: Summary, count: int, *, number: int | None = None) -> str:
    """What a file holds, short enough for the description in a NIfTI header.

    Parameters
    ----------
    what : str
        mask, label-map, mean, uncertainty, probability, expected, refined or member.
    summary : Summary
        How the run was summed up, as `Summary.of_run` gives it.
    count : int
        Members of which it is.
    number : int, optional
        The member's, from 0.
    """
    probability = f"smoothed probability, {summary.smoothing_mm or 0:g} mm, of {count} members"
    match what:
        case "mask" if summary.rule is Rule.PROBABILITY:
            return f"mask: {probability}, > 0.5"
        case "mask":
            return f"mask: {summary.words}, {count} members"
        case "label-map":
            by = f"{probability}, > 0.5" if summary.rule is Rule.PROBABILITY else f"{summary.words}, {count} members"
            return f"label map of all regions: {by}"
        case "mean":
            return f"mean of {count} binary members"
        case "uncertainty":
            return f"uncertainty: {_MEASURES[summary.measure].format(count=count, probability=probability)}"
        case "probability":
            return probability
        case "expected":
            return "one-step estimate: probability of a voxel by the first evaluations"
        case "refined":
            return "one-step estimate, refined by the brightness of an image"
        case _:
            return f"member {1 + (number or 0)}, binary"
