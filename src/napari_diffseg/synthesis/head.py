"""What lies around the brain of a scan whose skull was not stripped: fluid, bone, fat, skin, and noise in the air."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy import ndimage as ndi

from napari_diffseg.synthesis.fields import Float32Array, smooth_field

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_diffseg.synthesis.settings import ModalityName

_LAYERS = ("fluid", "bone", "marrow", "bone", "fat", "skin")
_THICKNESS_MM = ((1.0, 3.0), (1.0, 2.5), (1.0, 4.0), (1.0, 2.5), (2.0, 9.0), (1.0, 2.5))
# Relative to white matter:                 fluid      bone         marrow      fat         skin
_MEANS: Mapping[ModalityName, Mapping[str, tuple[float, float]]] = {
    "t1": {"fluid": (0.3, 0.6), "bone": (0.02, 0.15), "marrow": (0.4, 1.2), "fat": (1.1, 1.9), "skin": (0.5, 0.9)},
    "t1ce": {"fluid": (0.3, 0.7), "bone": (0.02, 0.15), "marrow": (0.4, 1.3), "fat": (1.1, 1.9), "skin": (0.7, 1.4)},
    "t2": {"fluid": (1.6, 2.6), "bone": (0.02, 0.15), "marrow": (0.4, 1.2), "fat": (0.8, 2.0), "skin": (0.4, 0.9)},
    "flair": {"fluid": (0.3, 0.6), "bone": (0.02, 0.15), "marrow": (0.3, 1.1), "fat": (0.7, 1.8), "skin": (0.4, 0.9)},
}
_MUSCLE = (0.35, 0.75)
_AIR = (0.004, 0.02)
_LARGEST = 32_000


@dataclass(frozen=True, eq=False)
class Head:
    """The layers around one patient's brain, shared by its modalities; arrays (X, Y, Z).

    Attributes
    ----------
    layer : ndarray, int8
        Index into the layers from within outwards, -1 in the brain and in the air.
    muscle : ndarray, float32
        How much of the fat is muscle, 0 to 1.
    air : ndarray, bool
        Beyond the skin.
    """

    layer: npt.NDArray[np.int8]
    muscle: Float32Array
    air: npt.NDArray[np.bool_]


def draw_head(
    rng: np.random.Generator, brain: npt.NDArray[np.bool_], *, spacing_mm: tuple[float, float, float]
) -> Head:
    """Layers of uneven thickness around a brain, (X, Y, Z).

    References
    ----------
    Puonti et al. 2026 (SIAM), arXiv:2605.02737, for training with what is around the brain.
    """
    away = ndi.distance_transform_edt(~brain, sampling=spacing_mm) if brain.any() else np.full(brain.shape, np.inf)
    layer = np.full(brain.shape, -1, np.int8)
    inner = np.zeros(brain.shape, np.float32)
    for n, span in enumerate(_THICKNESS_MM):
        uneven = np.exp(0.25 * smooth_field(rng, brain.shape, length_mm=30, spacing_mm=spacing_mm))
        outer = inner + np.float32(rng.uniform(*span)) * uneven
        layer[(away > inner) & (away <= outer)] = n
        inner = outer
    patches = smooth_field(rng, brain.shape, length_mm=15, spacing_mm=spacing_mm)
    muscle = np.clip(patches + np.float32(rng.uniform(-1, 1)), 0, 1).astype(np.float32)
    return Head(layer, muscle, np.asarray(away > inner))


def put_head(
    rng: np.random.Generator,
    image: npt.NDArray[np.int16],
    head: Head,
    *,
    modality: ModalityName,
    white: float,
    spacing_mm: tuple[float, float, float],
) -> npt.NDArray[np.int16]:
    """One modality's image of a stripped brain with the head around it.

    Parameters
    ----------
    rng : numpy.random.Generator
        Of this modality's head.
    image : ndarray, (X, Y, Z), int16
        The brain, 0 elsewhere.
    head : Head
        What is around it.
    modality : str
        Which.
    white : float
        Intensity of white matter in the image.
    spacing_mm : tuple of float
        Voxel size.
    """
    around = np.zeros(image.shape, np.float32)
    drawn = {name: rng.uniform(*span) for name, span in _MEANS[modality].items()}
    for n, name in enumerate(_LAYERS):
        around[head.layer == n] = drawn[name]
    fat = head.layer == _LAYERS.index("fat")
    around[fat] += (head.muscle * np.float32(rng.uniform(*_MUSCLE) - drawn["fat"]))[fat]
    around *= 1 + np.float32(0.1) * smooth_field(rng, image.shape, length_mm=8, spacing_mm=spacing_mm)
    around = ndi.gaussian_filter(
        around, [0.5 / s if n > 1 else 0.0 for n, s in zip(image.shape, spacing_mm, strict=True)]
    )
    sd = np.float32(rng.uniform(*_AIR))
    noise = [sd * rng.standard_normal(image.shape, dtype=np.float32) for _ in range(2)]
    counts = np.clip(np.round(np.hypot(around + noise[0], noise[1]) * np.float32(white)), 0, _LARGEST)
    return np.where(image != 0, image, counts).astype(np.int16)
