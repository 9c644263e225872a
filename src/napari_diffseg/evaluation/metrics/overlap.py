"""One mask against another: overlap, distance, volume. The rule for empty masks is stated and kept here alone."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from napari_diffseg.ensemble.dice import dice_of_counts
from napari_diffseg.errors import GridMismatch

if TYPE_CHECKING:
    from collections.abc import Sequence

Bool = npt.NDArray[np.bool_]

EMPTY_RULE: Final = (
    "Both masks empty: Dice, Jaccard and NSD are 1, HD95 is undefined. One of them empty: Dice, Jaccard and NSD are 0, "
    "HD95 is undefined. The volume error in percent is undefined where the truth is empty. Undefined values are NaN "
    "(null in JSON, nothing in CSV), are left out of means, and are counted."
)

HD95_RULE: Final = (
    "hd95_mm is medpy's: the 95th percentile of the distances between border voxels, both directions pooled. "
    "hd95_max_mm is surface-distance's: the larger of the two directions' 95th percentiles, weighted by surface area. "
    "NSD is surface-distance's surface Dice at the tolerance."
)


@dataclass(frozen=True, slots=True)
class Overlap:
    """A predicted mask against the truth; NaN is undefined, see `EMPTY_RULE`.

    Attributes
    ----------
    dice, jaccard : float
        In [0, 1].
    hd95_mm, hd95_max_mm : float
        Distance of the outlines in mm, by two conventions, see `HD95_RULE`.
    nsd_1mm, nsd_2mm : float
        Share of the outlines that lies within 1 mm or 2 mm of the other, in [0, 1].
    volume_ml, truth_volume_ml : float
        Volumes in ml.
    volume_error_ml, volume_error_percent : float
        Predicted minus true volume, in ml and in percent of the true one.
    """

    dice: float
    jaccard: float
    hd95_mm: float
    hd95_max_mm: float
    nsd_1mm: float
    nsd_2mm: float
    volume_ml: float
    truth_volume_ml: float
    volume_error_ml: float
    volume_error_percent: float


def compare(prediction: Bool, truth: Bool, *, spacing_mm: Sequence[float], voxel_mm3: float) -> Overlap:
    """Measure a mask, in space or on one slice, against the truth.

    Parameters
    ----------
    prediction, truth : ndarray, (X, Y, Z) or (U, V), bool
        On one grid.
    spacing_mm : sequence of float
        Distance between voxels along each axis of the arrays.
    voxel_mm3 : float
        Volume of a voxel; for a slice, its thickness counts.

    Returns
    -------
    Overlap

    Raises
    ------
    GridMismatch
        If the arrays differ in shape, or the spacing is not one number for each axis.

    References
    ----------
    Nikolov et al. 2021, doi:10.2196/26151 (surface Dice); Maier-Hein et al. 2024, arXiv:2206.01653 (what to measure).
    """
    if prediction.shape != truth.shape or len(spacing_mm) != prediction.ndim:
        raise GridMismatch(
            f"A mask of {prediction.shape} voxels, spacing {tuple(spacing_mm)}, cannot be compared with one of "
            f"{truth.shape}: give both on one grid, with one spacing for each axis."
        )
    ours, theirs = int(prediction.sum()), int(truth.sum())
    both = int((prediction & truth).sum())
    hd95, hd95_max, nsd_1, nsd_2 = _distances(prediction, truth, spacing_mm)
    ml = voxel_mm3 / 1000
    return Overlap(
        dice=dice_of_counts(both, ours, theirs),
        jaccard=1.0 if ours + theirs == 0 else both / (ours + theirs - both),
        hd95_mm=hd95,
        hd95_max_mm=hd95_max,
        nsd_1mm=nsd_1,
        nsd_2mm=nsd_2,
        volume_ml=ours * ml,
        truth_volume_ml=theirs * ml,
        volume_error_ml=(ours - theirs) * ml,
        volume_error_percent=100 * (ours - theirs) / theirs if theirs else math.nan,
    )


def _distances(prediction: Bool, truth: Bool, spacing_mm: Sequence[float]) -> tuple[float, float, float, float]:
    """HD95 by the two conventions, NSD at 1 mm and at 2 mm."""
    ours, theirs = bool(prediction.any()), bool(truth.any())
    if not (ours and theirs):
        score = float(ours == theirs)
        return math.nan, math.nan, score, score
    import surface_distance

    surfaces = _surfaces(prediction, truth, spacing_mm)
    return (
        hd95_of(prediction, truth, spacing_mm=spacing_mm),
        float(surface_distance.compute_robust_hausdorff(surfaces, 95)),
        float(surface_distance.compute_surface_dice_at_tolerance(surfaces, 1.0)),
        float(surface_distance.compute_surface_dice_at_tolerance(surfaces, 2.0)),
    )


def _surfaces(prediction: Bool, truth: Bool, spacing_mm: Sequence[float]) -> Any:
    """What surface-distance makes of two masks of which none is empty."""
    import surface_distance

    box = bounding_box(prediction | truth)
    p, t = np.pad(prediction[box], 1), np.pad(truth[box], 1)
    with warnings.catch_warnings():
        # It calls SciPy functions by names that SciPy 2 drops.
        warnings.filterwarnings(
            "ignore", message=r"(?s).*scipy\.ndimage\.(filters|morphology)", category=DeprecationWarning
        )
        return surface_distance.compute_surface_distances(t, p, spacing_mm)


def hd95_max_of(a: Bool, b: Bool, *, spacing_mm: Sequence[float]) -> float:
    """HD95 by surface-distance, as BraTS takes it: the larger of both directions; NaN where a mask is empty.

    Parameters
    ----------
    a, b, spacing_mm :
        As of `hd95_of`.
    """
    import surface_distance

    if not (a.any() and b.any()):
        return math.nan
    return float(surface_distance.compute_robust_hausdorff(_surfaces(a, b, spacing_mm), 95))


def hd95_of(a: Bool, b: Bool, *, spacing_mm: Sequence[float]) -> float:
    """95th percentile, in mm, of the distances between the border voxels of two masks, both directions pooled.

    Parameters
    ----------
    a, b : ndarray of bool, of one shape
        In space, or on one slice.
    spacing_mm : sequence of float
        Distance between voxels along each axis.

    Returns
    -------
    float
        NaN where one of them is empty, or both are.
    """
    from medpy.metric import binary

    if not (a.any() and b.any()):
        return math.nan
    box = bounding_box(a | b)
    return float(binary.hd95(np.pad(a[box], 1), np.pad(b[box], 1), voxelspacing=tuple(spacing_mm)))


def bounding_box(mask: Bool) -> tuple[slice, ...]:
    """The smallest box around a mask that is not empty; distances between outlines are the same within it."""
    box = []
    for axis in range(mask.ndim):
        others = tuple(a for a in range(mask.ndim) if a != axis)
        along = np.flatnonzero(mask.any(axis=others))
        box.append(slice(int(along[0]), int(along[-1]) + 1))
    return tuple(box)
