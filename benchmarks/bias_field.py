"""A bias field as a polynomial of place, fitted to the commonest tissue of each image."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_diffseg.imaging.geometry.rim import Rim

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from changes import Bool, Float, Scene

    Axes = Sequence[npt.NDArray[np.float64]]

_RIM_MM = 2.0
_APART_MM = 4.0
_CUT = 1.5
_MOST_ROUNDS = 20


def without_bias(order: int) -> Callable[[Scene], Scene]:
    """The images divided by a polynomial of this order in each; their mean level stays.

    It is fitted by least squares to the logarithm of what lies within the rim, about 4 mm apart, again and again
    without what is farther off than 1.5 robust standard deviations: other tissue, and most of a lesion.
    """

    def change(scene: Scene) -> Scene:
        shown = Rim.of(scene.brain, width_mm=_RIM_MM, spacing_mm=scene.spacing_mm, slice_axis=2).shown
        axes = [np.linspace(-1, 1, n) for n in shown.shape]
        steps = [max(1, round(_APART_MM / size)) for size in scene.spacing_mm]
        coarse = tuple(slice(step // 2, None, step) for step in steps)
        images = {}
        for name, image in scene.images.items():
            counted = shown[coarse] & (image[coarse] > 0)
            terms = _terms([axis[part] for axis, part in zip(axes, coarse, strict=True)], order)
            weights = _fitted(np.log(image[coarse][counted]), np.stack([t[counted] for t in terms], axis=-1))
            images[name] = _divided(image, scene.brain, _terms(axes, order), weights)
        return replace(scene, images=images)

    return change


def _terms(axes: Axes, order: int) -> list[npt.NDArray[np.float64]]:
    """All products of powers up to the order, each (X, Y, Z)."""
    x, y, z = np.meshgrid(*axes, indexing="ij", sparse=True)
    shape = tuple(len(axis) for axis in axes)
    powers = [p for p in product(range(order + 1), repeat=3) if sum(p) <= order]
    return [np.broadcast_to(x**i * y**j * z**k, shape) for i, j, k in powers]


def _fitted(values: Float, terms: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The weights of terms (N, T) that make values (N,), without what is far off."""
    weights = np.zeros(terms.shape[1])
    weights[0] = np.median(values)
    kept = np.ones(len(values), np.bool_)
    for _ in range(_MOST_ROUNDS):
        off = values - terms @ weights
        off -= np.median(off[kept])
        near = np.abs(off) <= _CUT * 1.4826 * np.median(np.abs(off))
        if (near == kept).all():
            break
        kept = near
        weights = np.linalg.lstsq(terms[kept], values[kept], rcond=None)[0]
    return weights


def _divided(
    image: Float, brain: Bool, terms: list[npt.NDArray[np.float64]], weights: npt.NDArray[np.float64]
) -> Float:
    field = sum(w * term for w, term in zip(weights, terms, strict=True))
    return np.asarray(image / np.exp(field - np.mean(field, where=brain)), np.float32)
