"""The score of the BraTS uncertainty challenge: better Dice where certain, without throwing right voxels away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.integrate import trapezoid

from napari_diffseg.ensemble.dice import dice_of_counts

Bool = npt.NDArray[np.bool_]

QU_BRATS_RULE: Final = (
    "Thresholds 0, 2.5, ..., 100; a voxel is kept if its uncertainty does not exceed the threshold. Uncertainty is "
    "scaled by the largest value that an even vote would give, never by the largest of the case. Few members give few "
    "levels of uncertainty, so scores compare only between ensembles of one size."
)
_THRESHOLDS = np.linspace(0, 100, 41)


@dataclass(frozen=True, slots=True)
class QuBrats:
    """Areas under three curves over the threshold, and the score made of them; all in [0, 1].

    Attributes
    ----------
    score : float
        (dice_auc + (1 - ftp_auc) + (1 - ftn_auc)) / 3; 1 is the best.
    dice_auc : float
        Of the Dice of the voxels kept.
    ftp_auc, ftn_auc : float
        Of the share of true positives, and of true negatives, within the brain that was set aside.
    levels : int
        Different values of uncertainty in the brain.
    """

    score: float
    dice_auc: float
    ftp_auc: float
    ftn_auc: float
    levels: int


def qu_brats(prediction: Bool, truth: Bool, uncertainty: npt.NDArray[np.floating], brain: Bool) -> QuBrats:
    """The QU-BraTS score of one structure.

    Parameters
    ----------
    prediction, truth, brain : ndarray, (...), bool
        One shape.
    uncertainty : ndarray, (...), float
        In [0, 100].

    Returns
    -------
    QuBrats

    References
    ----------
    Mehta et al. 2022, MELBA 2022:026, section 3. Dice counts all voxels, as in the challenge's own evaluation; the
    two shares count those of the brain, and a share of nothing is 0.
    """
    u = uncertainty.astype(np.float64)
    both = _cumulative(u[prediction & truth])
    ours, theirs = _cumulative(u[prediction]), _cumulative(u[truth])
    true_positive = _cumulative(u[prediction & truth & brain])
    true_negative = _cumulative(u[~prediction & ~truth & brain])
    kept_dice = [dice_of_counts(*counts) for counts in zip(both, ours, theirs, strict=True)]
    dice_auc = _area(np.array(kept_dice))
    ftp_auc, ftn_auc = _area(_set_aside(true_positive)), _area(_set_aside(true_negative))
    return QuBrats(
        score=(dice_auc + (1 - ftp_auc) + (1 - ftn_auc)) / 3,
        dice_auc=dice_auc,
        ftp_auc=ftp_auc,
        ftn_auc=ftn_auc,
        levels=int(np.unique(u[brain]).size),
    )


def _cumulative(values: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """How many values each threshold keeps; rounding of float32 maps must not lift a value over its threshold."""
    return np.searchsorted(np.sort(values), _THRESHOLDS + 1e-4, side="right").astype(np.int64)


def _set_aside(kept: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    return np.asarray((kept[-1] - kept) / max(int(kept[-1]), 1), np.float64)


def _area(curve: npt.NDArray[np.float64]) -> float:
    """Area under a curve over the thresholds, by trapezoids, divided by 100."""
    return float(trapezoid(curve, _THRESHOLDS) / 100)
