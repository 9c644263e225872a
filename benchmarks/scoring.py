"""How good an ensemble of masks is against readers whose distribution is known; the same for every kind of model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_diffseg.ensemble.dice import dice
from napari_diffseg.evaluation.metrics.calibration import Reliability, pooled, reliability
from napari_diffseg.evaluation.metrics.distribution import compare_distributions
from napari_diffseg.evaluation.metrics.error_detection import auroc

if TYPE_CHECKING:
    from collections.abc import Sequence

    from held_out import HeldOut

Bool = npt.NDArray[np.bool_]
Float = npt.NDArray[np.float32]

BINS = 10
RULES = (
    "Every figure but the ECE is a mean over phantoms, each measured on all its slices at once. dice, single_dice: "
    "mask (mean > 0.5) and single masks against what more than half of all readers mark. ged2, hm_iou: masks against "
    "16 drawn readers, V-statistic with d = 1 - IoU. ece: mean of the masks against the exact probability that a "
    f"reader marks the voxel, {BINS} bins over all brain voxels of all phantoms; ece_near: within 20 mm of the "
    "lesion; ece_drawn: in the brain, against the 16 drawn readers. auroc: uncertainty p (1 - p) for errors of the "
    "mask, in the brain."
)


@dataclass(frozen=True, slots=True)
class Score:
    """One ensemble on one phantom: its figures, and the curves that are pooled over phantoms."""

    name: str
    figures: dict[str, float]
    curves: dict[str, Reliability]


def score(subject: HeldOut, masks: Bool, *, mean: Float | None = None) -> Score:
    """Measure an ensemble.

    Parameters
    ----------
    subject : HeldOut
        The phantom.
    masks : ndarray, (K, S, U, V), bool
        Its masks.
    mean : ndarray, (S, U, V), float32, optional
        Its probabilities, where they are not the mean of the masks.
    """
    p = masks.mean(axis=0, dtype=np.float32) if mean is None else mean
    mask, brain, truth = p > 0.5, subject.brain, subject.truth
    spread = compare_distributions(masks, subject.readers)
    figures = {
        "dice": dice(mask, truth),
        "single_dice": float(np.mean([dice(m, truth) for m in masks])),
        "ged2": spread.ged_squared,
        "hm_iou": spread.hungarian_iou,
        "auroc": auroc((p * (1 - p))[brain], (mask != truth)[brain]),
    }
    share = subject.readers.mean(axis=0, dtype=np.float32)
    curves = {
        "ece": reliability(p[brain], subject.probability[brain], bins=BINS),
        "ece_near": reliability(p[subject.near], subject.probability[subject.near], bins=BINS),
        "ece_drawn": reliability(p[brain], share[brain], bins=BINS),
    }
    return Score(subject.name, figures, curves)


def summary(scores: Sequence[Score]) -> dict[str, Any]:
    """Means over phantoms, rounded; NaN (an AUROC without errors) is left out of its mean.

    The curves are pooled first: an ECE is of all voxels, so that over- and underestimation of single phantoms, as
    readers differ, can cancel; `ece_per_phantom` is the mean in which they cannot.
    """
    out = {name: _mean([s.figures[name] for s in scores]) for name in scores[0].figures}
    out |= {name: round(pooled([s.curves[name] for s in scores]).ece, 5) for name in scores[0].curves}
    return out | {"ece_per_phantom": round(float(np.mean([s.curves["ece"].ece for s in scores])), 5)}


def by_phantom(scores: Sequence[Score]) -> list[dict[str, Any]]:
    """A row a phantom."""
    return [
        {"phantom": s.name, **{k: round(v, 4) for k, v in s.figures.items()}, "ece": round(s.curves["ece"].ece, 5)}
        for s in scores
    ]


def curve(scores: Sequence[Score], name: str = "ece") -> dict[str, list[Any]]:
    """The reliability curve of all phantoms together."""
    pool = pooled([s.curves[name] for s in scores])
    return {
        "voxels": list(pool.count),
        "probability": [round(v, 4) if n else None for v, n in zip(pool.confidence, pool.count, strict=True)],
        "readers": [round(v, 4) if n else None for v, n in zip(pool.frequency, pool.count, strict=True)],
    }


def _mean(values: list[float]) -> float | None:
    known = [v for v in values if not np.isnan(v)]
    return round(float(np.mean(known)), 4) if known else None
