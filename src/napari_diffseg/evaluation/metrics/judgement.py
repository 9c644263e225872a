"""An ensemble's mask against a reference, voxel by voxel: what is missed, what is false, and what of it was sure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from napari_diffseg.ensemble.dice import dice
from napari_diffseg.evaluation.metrics.calibration import Reliability, brier, reliability
from napari_diffseg.evaluation.metrics.overlap import hd95_of
from napari_diffseg.evaluation.metrics.region import region_around

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Bool = npt.NDArray[np.bool_]

SURE: Final = 0.95
"""Share of the members that must agree before an error is called sure."""
BINS: Final = 10
_FEWEST: Final = 2
"""With fewer members than this nobody can agree, so that no error is sure."""
_ROUNDING: Final = 1e-9


class Verdict(IntEnum):
    """What is wrong with a voxel of the mask; the value is its label in the map of errors, where 0 is right."""

    MISSED = 1
    SURELY_MISSED = 2
    FALSE = 3
    SURELY_FALSE = 4


@dataclass(frozen=True, slots=True, eq=False)
class Judgement:
    """A mask against a reference.

    Attributes
    ----------
    dice : float
        In [0, 1]; 1 when both are empty.
    hd95_mm : float or None
        Distance of the outlines as in `hd95_of`, NaN where one is empty; None where the library is not installed.
    errors : ndarray, (X, Y, Z), uint8
        0 or a `Verdict`.
    ml : mapping of Verdict to float
        Volume of each in ml. What is surely missed is not counted as missed once more, and so for false.
    curve : Reliability
        The probability against the reference, around whatever a member or the reference sees.
    brier : float
        Mean squared difference of the two there.
    """

    dice: float
    hd95_mm: float | None
    errors: npt.NDArray[np.uint8]
    ml: Mapping[Verdict, float]
    curve: Reliability
    brier: float


def judge(
    mask: Bool,
    reference: Bool,
    *,
    votes: npt.NDArray[np.integer[Any]],
    probability: npt.NDArray[np.float32],
    count: int,
    covered: Bool,
    spacing_mm: Sequence[float],
    voxel_mm3: float,
    with_distance: bool,
) -> Judgement:
    """Hold a mask and the votes behind it against a reference.

    Parameters
    ----------
    mask, reference : ndarray, (X, Y, Z), bool
        On one grid.
    votes : ndarray, (X, Y, Z), int
        Members that hold each voxel.
    probability : ndarray, (X, Y, Z), float32
        What is held against the reference as a probability: the members' mean, or the smoothed one.
    count : int
        Members that voted.
    covered : ndarray, bool, that broadcasts to (X, Y, Z)
        Where the ensemble was asked; elsewhere nothing is right or wrong.
    spacing_mm : sequence of float, (3,)
        Voxel size along the arrays' axes.
    voxel_mm3 : float
        Volume of a voxel.
    with_distance : bool
        Whether to measure `hd95_mm`, which needs the extra `evaluation`.

    Returns
    -------
    Judgement
    """
    mask, reference = mask & covered, reference & covered
    errors = _errors(mask, reference, votes, count)
    voxels = np.bincount(errors.ravel(), minlength=len(Verdict) + 1)
    inside = region_around((votes > 0) | reference, spacing_mm).mask & covered
    share = np.asarray(probability[inside], np.float64)
    outcome = reference[inside].astype(np.float64)
    return Judgement(
        dice=dice(mask, reference),
        hd95_mm=hd95_of(mask, reference, spacing_mm=spacing_mm) if with_distance else None,
        errors=errors,
        ml={verdict: float(voxels[verdict]) * voxel_mm3 / 1000 for verdict in Verdict},
        curve=reliability(share, outcome, bins=BINS),
        brier=brier(share, outcome),
    )


def _errors(mask: Bool, reference: Bool, votes: npt.NDArray[np.integer[Any]], count: int) -> npt.NDArray[np.uint8]:
    """The map of errors, (X, Y, Z)."""
    missed, false = reference & ~mask, mask & ~reference
    errors = np.zeros(mask.shape, np.uint8)
    errors[missed], errors[false] = Verdict.MISSED, Verdict.FALSE
    if count >= _FEWEST:
        errors[missed & (votes <= (1 - SURE) * count + _ROUNDING)] = Verdict.SURELY_MISSED
        errors[false & (votes >= SURE * count - _ROUNDING)] = Verdict.SURELY_FALSE
    return errors
