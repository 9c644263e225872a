"""The one-step estimate refined by brightness: where a lesion ends, by how bright it is in one image of this case."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter, gaussian_filter1d, maximum_filter1d

from napari_diffseg.ensemble.window import inside_of
from napari_diffseg.imaging.geometry.holes import box_around

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_diffseg.events import Window

Float = npt.NDArray[np.float32]
Bool = npt.NDArray[np.bool_]

_NEAR_MM: Final = 8.0
"""How far the estimate about a voxel tells what to expect there, before its brightness is seen."""
_OWN: Final = 0.25
"""Weight of a voxel's own estimate beside that of its surroundings: a lesion of few mm is little of these."""
_BLUR_MM: Final = 1.0
"""Standard deviation of the Gaussian that takes noise from the image, whatever the vote map is smoothed by."""
_REACH: Final = 3
"""Standard deviations after which a Gaussian is cut off."""
_BINS: Final = 64
_BIN_SD: Final = 1.5
"""Gaussian over the histograms, in bins."""
_ENDS: Final = (0.1, 99.9)
"""Percentiles between which the bins lie; what is beyond is in the first bin or the last one."""
_VOXELS: Final = 100.0
"""As if so many more voxels of the lesion, and of the rest, were as bright as the whole: few tell little."""
_APART: Final = 2 / 3
"""Total variation distance of the two histograms from which on brightness is believed in full."""
_SURE: Final = 1e-4
"""By which a share stays away from 1."""


def refine_slices(
    estimate: Float,
    image: npt.NDArray[Any],
    brain: Bool,
    *,
    slices: Sequence[int],
    slice_axis: int,
    window: Window | None,
    spacing_mm: tuple[float, ...],
) -> Float:
    """The estimate of a run's slices, refined by an image: (S, U, V), float32.

    Where the image is 0, as beyond its field of view, the estimate stays as it is.

    Parameters
    ----------
    estimate : ndarray, (X, Y, Z), float32
        The one-step estimate; of slices that are not asked for, what it is does not matter.
    image, brain : ndarray, (X, Y, Z)
        On the same voxels.
    slices : sequence of int
        Source slice indices that the estimate is of, S of them.
    slice_axis : int
        The source axis along which slices are counted.
    window : Window or None
        What of each slice was asked for; None is all.
    spacing_mm : tuple of float
        Voxel size along each axis.
    """
    asked = np.zeros(brain.shape, np.bool_)
    np.moveaxis(asked, slice_axis, 0)[list(slices)] = True
    asked &= brain & (image != 0)
    if window is not None:
        asked &= inside_of(window, (brain.shape[0], brain.shape[1], brain.shape[2]), slice_axis)
    refined = refine_by_brightness(estimate, image, asked, spacing_mm=spacing_mm)
    return np.moveaxis(refined, slice_axis, 0)[list(slices)]


def refine_by_brightness(
    probability: Float, image: npt.NDArray[Any], inside: Bool, *, spacing_mm: tuple[float, ...]
) -> Float:
    """P(lesion) of each voxel, given the one-step estimate and how bright an image is there.

    A network that was trained on many contrasts knows better that there is a lesion than where it ends. How bright the
    lesion and the rest are in this very image, the estimate tells: weighed by it, two histograms are made, whose ratio
    is the likelihood ratio r of a brightness. Let m be the largest estimate in a box of 8 mm to each side, which is how
    sure the network is of any lesion there, and s what is expected of a voxel before its brightness is seen, divided by
    m: a quarter of it the voxel's own estimate, the rest the Gaussian average around it (standard deviation 8 mm). Then
    the odds of a voxel are o = r s / (1 - s), and its probability is m o / (1 + o). So brightness moves boundaries: it
    makes no lesion surer than the network is of it, and nothing is found where the network sees nothing in that box.
    Where the histograms differ little (total variation distance d below 2/3), the image shows little of the lesion:
    then the result is that with a weight of d / (2/3), and the estimate with the rest.

    Parameters
    ----------
    probability : ndarray, (X, Y, Z), float32
        The one-step estimate, in [0, 1].
    image : ndarray, (X, Y, Z)
        In any unit.
    inside : ndarray, (X, Y, Z), bool
        Voxels of the brain that the estimate is of; the others have no part in it, and keep their estimate.
    spacing_mm : tuple of float
        Voxel size along each axis.

    Returns
    -------
    ndarray of float32, (X, Y, Z)
        In [0, 1].

    References
    ----------
    Van Leemput et al. 1999, doi:10.1109/42.811270, for intensities of tissue learned in each image, weighed by where a
    prior expects it.
    """
    refined = probability.copy()
    if not (inside & (probability > 0)).any():
        return refined
    box = box_around(inside)
    where, estimate = inside[box], np.where(inside[box], probability[box], np.float32(0))
    ratio, distance = _likelihood_ratio(_brightness(image[box], where, spacing_mm), estimate[where])
    most = _largest_near(estimate, spacing_mm)
    near = where & (most > 0)  # what is elsewhere is 0, and stays so
    part = box_around(near, margin=int(_REACH * _NEAR_MM / min(spacing_mm) + 1))
    around = _average(estimate[part], where[part], _NEAR_MM, spacing_mm)[near[part]]
    expected = np.float32(_OWN) * estimate[near] + np.float32(1 - _OWN) * around
    share = np.clip(expected / np.maximum(most[near], np.float32(_SURE)), 0, 1 - _SURE)
    odds = ratio[near[where]] * share / (1 - share)
    weight = np.float32(min(1.0, distance / _APART))
    refined[box][near] = weight * most[near] * odds / (1 + odds) + (1 - weight) * estimate[near]
    return refined


def _brightness(image: npt.NDArray[Any], known: Bool, spacing_mm: tuple[float, ...]) -> Float:
    """Of each voxel that is known, (N,), less noise and less the mean, so that a large offset takes no digits away."""
    values = (image - image[known].mean()).astype(np.float32, copy=False)
    return _average(values, known, _BLUR_MM, spacing_mm)[known]


def _average(values: Float, known: Bool, sd_mm: float, spacing_mm: tuple[float, ...]) -> Float:
    """A Gaussian average in which only what is known has a part."""
    weight = known.astype(np.float32)
    total = values * weight
    for summed in (total, weight):  # in place: a volume may be large
        sd = [sd_mm / mm for mm in spacing_mm]
        gaussian_filter(summed, sd, output=summed, mode="constant", truncate=_REACH)
    total /= np.maximum(weight, np.float32(_SURE), out=weight)
    return total


def _largest_near(estimate: Float, spacing_mm: tuple[float, ...]) -> Float:
    """The largest value in a box of 8 mm to each side, in whole voxels."""
    for axis, mm in enumerate(spacing_mm):
        estimate = maximum_filter1d(estimate, 2 * int(_NEAR_MM / mm + 0.5) + 1, axis=axis, mode="constant")
    return estimate


def _likelihood_ratio(bright: Float, estimate: Float) -> tuple[Float, float]:
    """How many times as likely each brightness (N,) is in the lesion as in the rest, which the estimate (N,) weighs.

    And how far apart the two are, as their total variation distance.
    """
    low, high = np.percentile(bright, _ENDS)
    bins = np.clip((bright - low) / max(high - low, np.finfo(np.float32).tiny) * _BINS, 0, _BINS - 1).astype(np.intp)
    of_all = np.bincount(bins, minlength=_BINS) / len(bins)
    lesion, rest = (_histogram(bins, weights, of_all) for weights in (estimate, 1 - estimate))
    distance = 1 - float(np.minimum(lesion, rest).sum())
    return np.asarray((lesion / rest)[bins], np.float32), max(0.0, distance)


def _histogram(bins: npt.NDArray[np.intp], weights: Float, of_all: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Share of each bin, smoothed, and never quite 0."""
    counted = np.bincount(bins, weights, _BINS) + _VOXELS * of_all
    smooth = gaussian_filter1d(counted, _BIN_SD, mode="nearest")
    share: npt.NDArray[np.float64] = np.maximum(smooth / smooth.sum(), _SURE)
    return share
