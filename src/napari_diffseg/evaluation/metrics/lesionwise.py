"""Dice and HD95 lesion by lesion, as BraTS counts them since 2023: a missed or a false lesion weighs like any other."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_diffseg.ensemble.dice import dice
from napari_diffseg.evaluation.metrics.overlap import bounding_box, hd95_max_of

if TYPE_CHECKING:
    from collections.abc import Sequence

Bool = npt.NDArray[np.bool_]
Int = npt.NDArray[np.integer[Any]]

PENALTY_MM: Final = 374.0
"""HD95 of a lesion that is missed or false: about the diagonal of a BraTS image."""
DILATIONS: Final = 3
"""Voxels by which a true lesion grows before parts of it are counted, and a predicted one is of it."""
LEAST_MM3: Final = 50.0
"""True lesions up to this volume are not counted, nor what is predicted on them."""

LESIONWISE_RULE: Final = (
    "As BraTS counts since 2023, for adult glioma: true voxels that touch once they have grown by three voxels "
    "(18 neighbours) are one lesion; predicted parts (26 neighbours) that reach into the grown lesion are its "
    "prediction, whole. lesion_dice and lesion_hd95_mm are means over the true lesions of more than 50 mm3 and the "
    "predicted parts that reach no lesion at all; a missed lesion and a false one have Dice 0 and HD95 374 mm. Without "
    "any of these they are 1 and 0 mm. hd95_brats_mm is HD95 of the whole mask (hd95_max_mm) by the same rule: 0 mm "
    "where both masks are empty, 374 mm where one is, so that no case leaves its mean."
)

_CORNERS: Final = ndimage.generate_binary_structure(3, 3)
_EDGES: Final = ndimage.generate_binary_structure(3, 2)
_MARGIN: Final = DILATIONS + 1


@dataclass(frozen=True, slots=True)
class Lesionwise:
    """A mask against the truth, lesion by lesion, see `LESIONWISE_RULE`.

    Attributes
    ----------
    lesion_dice : float
        In [0, 1].
    lesion_hd95_mm : float
        In mm, at most `PENALTY_MM` where no distance in the image is longer.
    hd95_brats_mm : float
        HD95 of the whole masks, never undefined.
    lesions_found, lesions_missed, lesions_false : int
        True lesions above the least volume with and without a prediction; predicted parts that reach no true lesion.
    """

    lesion_dice: float
    lesion_hd95_mm: float
    hd95_brats_mm: float
    lesions_found: int
    lesions_missed: int
    lesions_false: int


def compare_lesions(
    prediction: Bool,
    truth: Bool,
    *,
    spacing_mm: Sequence[float],
    voxel_mm3: float,
    dilations: int = DILATIONS,
    least_mm3: float = LEAST_MM3,
) -> Lesionwise:
    """Measure a mask against the truth, lesion by lesion.

    Parameters
    ----------
    prediction, truth : ndarray, (X, Y, Z), bool
        On one grid.
    spacing_mm : sequence of float, (3,)
        Voxel size along the arrays' axes.
    voxel_mm3 : float
        Volume of a voxel.
    dilations : int
        3 for glioma; BraTS takes 1 for meningioma and metastases.
    least_mm3 : float
        50 for glioma; BraTS takes 2 for metastases.

    References
    ----------
    Moawad et al. 2023, arXiv:2306.00838; rules at https://github.com/rachitsaluja/BraTS-2023-Metrics.
    """
    whole = _or_penalty(prediction, truth, spacing_mm)
    if not (prediction.any() or truth.any()):
        return Lesionwise(1.0, 0.0, whole, 0, 0, 0)
    box = bounding_box(prediction | truth)
    p, t = np.pad(prediction[box], _MARGIN), np.pad(truth[box], _MARGIN)
    lesions = _joined(t, dilations)
    parts, predicted = ndimage.label(p, structure=_CORNERS)
    reached: set[int] = set()
    scores: list[tuple[float, float]] = []
    found = 0
    for n, where in enumerate(ndimage.find_objects(lesions), start=1):
        near = tuple(slice(max(s.start - dilations, 0), s.stop + dilations) for s in where)
        grown = ndimage.binary_dilation(lesions[near] == n, _EDGES, iterations=dilations)
        touching = np.unique(parts[near][grown])
        touching = touching[touching > 0]
        reached.update(touching.tolist())
        lesion = lesions == n
        if lesion.sum() * voxel_mm3 <= least_mm3:
            continue
        own = np.isin(parts, touching) if touching.size else np.zeros_like(lesion)
        found += bool(touching.size)
        scores.append((dice(own, lesion), _or_penalty(own, lesion, spacing_mm)))
    false = predicted - len(reached)
    counted = [*scores, *[(0.0, PENALTY_MM)] * false]
    lesion_dice, lesion_hd95 = np.mean(counted, axis=0) if counted else (1.0, 0.0)
    return Lesionwise(float(lesion_dice), float(lesion_hd95), whole, found, len(scores) - found, false)


def _joined(truth: Bool, dilations: int) -> Int:
    """True voxels by the lesion that they are of, numbered from 1; 0 elsewhere."""
    grown = ndimage.binary_dilation(truth, _EDGES, iterations=dilations) if dilations else truth
    joined, _ = ndimage.label(grown, structure=_CORNERS)
    joined[~truth] = 0
    return np.asarray(joined)


def _or_penalty(prediction: Bool, truth: Bool, spacing_mm: Sequence[float]) -> float:
    """HD95 in mm: 0 where both are empty, `PENALTY_MM` where one is."""
    found = hd95_max_of(prediction, truth, spacing_mm=spacing_mm)
    if not math.isnan(found):
        return found
    return PENALTY_MM if prediction.any() or truth.any() else 0.0
