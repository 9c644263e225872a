"""What looks like a lesion and is none: vessels, dura, choroid plexus, moving fluid, and matter bright by nature."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage as ndi

from napari_diffseg.synthesis.fields import Float32Array, smooth_field
from napari_diffseg.synthesis.settings import MODALITIES, ModalityName

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_diffseg.synthesis.anatomy import Anatomy

Range = tuple[float, float]

_THERE = 0.6
"""Share of the patients that have each of them, where all are asked for."""
# Brightness that each adds at its strongest, in units of white matter.
_ADDED: Mapping[str, Mapping[ModalityName, Range]] = {
    # Enhancing arteries and veins, dark in T2 and FLAIR where blood flows fast.
    "vessels": {"t1": (-0.2, 0.2), "t1ce": (0.5, 1.6), "t2": (-0.6, 0.2), "flair": (-0.3, 0.3)},
    "dura": {"t1": (-0.1, 0.1), "t1ce": (0.3, 1.2), "flair": (0.0, 0.3)},
    "plexus": {"t1": (0.0, 0.2), "t1ce": (0.3, 1.2), "t2": (-0.6, 0.0), "flair": (0.1, 0.7)},
    # Fluid that moves is not nulled in FLAIR: cisterns, third and fourth ventricle.
    "flow": {"t2": (-0.8, 0.0), "flair": (0.3, 1.2)},
    "caps": {"t1": (-0.12, 0.0), "t2": (0.1, 0.4), "flair": (0.2, 0.7)},
    # White matter above and about the ventricles, alike on both sides.
    "white": {"t1": (-0.08, 0.0), "t2": (0.05, 0.4), "flair": (0.15, 0.6)},
    # Insula, cingulate and temporal cortex are brighter in FLAIR than other grey matter.
    "grey": {"t2": (0.0, 0.25), "flair": (0.1, 0.4)},
}
_VESSEL_LENGTH_MM, _VESSEL_WIDTH = 24.0, 0.2
_FALX_MM, _DURA_MM = 1.5, 2.5
_CAP_MM, _ABOUT_VENTRICLES_MM = 3.5, 8.0
_TRACT_MM, _TRACT_SIZE_MM, _TRACT_Z_MM = (26.0, 15.0), (7.0, 28.0), (0.0, 60.0)
_FLOW_BELOW_MM = 20.0


def draw_lookalikes(
    rng: np.random.Generator,
    anatomy: Anatomy,
    *,
    lesion: Float32Array,
    spacing_mm: tuple[float, float, float],
    amount: float,
) -> dict[ModalityName, Float32Array]:
    """What normal structures add to each modality, (X, Y, Z) float32 in units of white matter; nobody marks them.

    Parameters
    ----------
    rng : numpy.random.Generator
        Where, how many, and how bright.
    anatomy : Anatomy
        Of the patient.
    lesion : ndarray, (X, Y, Z), float32
        Share of each voxel that is lesion, which hides them.
    spacing_mm : tuple of float
        Size of a voxel.
    amount : float
        0 none; 1: each in `_THERE` of the patients.
    """
    added = {m: np.zeros(anatomy.shape, np.float32) for m in MODALITIES}
    for name, where in _places(rng, anatomy, spacing_mm=spacing_mm).items():
        is_there, strength = rng.random() < _THERE * amount, rng.uniform(0.4, 1.0)
        for modality, span in _ADDED[name].items():
            brightness = np.float32(rng.uniform(*span) * strength * is_there)
            added[modality] += brightness * where
    return {m: image * (1 - lesion) for m, image in added.items()}


def _places(
    rng: np.random.Generator, anatomy: Anatomy, *, spacing_mm: tuple[float, float, float]
) -> dict[str, Float32Array]:
    """How much of each there is in every voxel, 0..1."""

    def field(length_mm: float) -> Float32Array:
        return smooth_field(rng, anatomy.shape, length_mm=length_mm, spacing_mm=spacing_mm)

    def blurred(share: Float32Array, length_mm: float) -> Float32Array:
        sigma = [length_mm / s if n > 1 else 0.0 for n, s in zip(anatomy.shape, spacing_mm, strict=True)]
        return np.asarray(ndi.gaussian_filter(share, sigma), np.float32)

    x, y, z = anatomy.coords_mm
    fluid = anatomy.csf * (anatomy.depth_mm > 0)
    width = np.float32(_VESSEL_WIDTH * max(1.0, spacing_mm[0] / 1.5) * rng.uniform(0.7, 1.5))
    curves = np.clip(1.3 - np.hypot(field(_VESSEL_LENGTH_MM), field(_VESSEL_LENGTH_MM)) / width, 0, 1)
    near_fluid = np.clip(3 * blurred(fluid, 3.0), 0.1, 1)
    ventricles = anatomy.ventricles.astype(np.float32)
    shell = np.clip(1.5 - np.abs(anatomy.depth_mm - 1) / _DURA_MM, 0, 1) * np.clip(2 * field(30) - 1, 0, 1)
    falx = np.clip(1.5 - np.abs(x) / _FALX_MM, 0, 1) * np.clip(3 * fluid, 0, 1)
    low = np.clip((np.float32(_FLOW_BELOW_MM) - z) / 20, 0.15, 1)
    places = {
        "vessels": curves * near_fluid,
        "dura": np.maximum(shell * (anatomy.depth_mm > 0), falx),
        "plexus": ventricles * np.clip((field(6) - np.float32(0.5)) / 0.5, 0, 1),
        "flow": fluid * low * np.clip(field(14) + np.float32(0.3), 0, 1),
        "caps": anatomy.wm * np.clip(2.5 * blurred(ventricles, _CAP_MM) * (1 + 0.6 * field(8)), 0, 1),
        "white": anatomy.wm
        * np.maximum(_tracts(x, y, z), np.clip(3 * blurred(ventricles, _ABOUT_VENTRICLES_MM), 0, 1))
        * np.clip(1 + 0.4 * field(15), 0, 1.5),
        "grey": anatomy.gm * np.clip(field(30), 0, 1),
    }
    return {name: np.asarray(where, np.float32) for name, where in places.items()}


def _tracts(x: Float32Array, y: Float32Array, z: Float32Array) -> Float32Array:
    """Corona radiata and centrum semiovale in the template (LPS mm), 0..1."""
    aside, behind = (np.abs(x) - _TRACT_MM[0]) / _TRACT_SIZE_MM[0], (y - _TRACT_MM[1]) / _TRACT_SIZE_MM[1]
    low, high = _TRACT_Z_MM
    height = np.clip((z - low) / 10, 0, 1) * np.clip((high - z) / 10, 0, 1)
    return np.asarray(np.exp(-(aside**2) - behind**2) * height, np.float32)


def draw_fading(
    rng: np.random.Generator,
    boundary: Float32Array,
    *,
    spacing_mm: tuple[float, float, float],
    amount: float,
) -> dict[ModalityName, Float32Array]:
    """Share of the oedema's contrast that each modality keeps, (X, Y, Z) float32: little in its outer third, at times.

    Readers mark it all the same, by the modality that shows it best.

    Parameters
    ----------
    rng : numpy.random.Generator
        Which modalities lose how much, and where.
    boundary : ndarray, (X, Y, Z), float32
        As `Lesions` has it: relative radius - 1.
    spacing_mm : tuple of float
        Size of a voxel.
    amount : float
        Share of the patients with such an oedema.
    """
    is_faint = rng.random() < amount
    begins = np.float32(rng.uniform(0.45, 0.8))
    uneven = 0.12 * smooth_field(rng, boundary.shape, length_mm=12, spacing_mm=spacing_mm)
    outer = np.clip((boundary + 1 + uneven - begins) / np.float32(0.15) + np.float32(0.5), 0, 1)
    # One modality, T2 or FLAIR, shows at least three tenths of it.
    best, lost = MODALITIES[2 + int(rng.integers(2))], rng.uniform(0.5, 1.0, len(MODALITIES))
    kept = {}
    for modality, share in zip(MODALITIES, lost, strict=True):
        most = min(share, 0.7) if modality == best else share
        kept[modality] = np.asarray(1 - np.float32(most * is_faint) * outer, np.float32)
    return kept
