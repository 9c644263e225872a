"""What each voxel is made of: fractions of healthy tissue, lesion parts, vessels and what a skull stripping left."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage as ndi

from napari_diffseg.synthesis.fields import Float32Array, smooth_field

if TYPE_CHECKING:
    from napari_diffseg.synthesis.anatomy import Anatomy
    from napari_diffseg.synthesis.lesions import Lesions
    from napari_diffseg.synthesis.settings import PhantomKind, ReaderModel

_CORE_EDGE = 0.10
# How much of the oedema's contrast is lost on its way out, and in patches of it; readers mark it all the same.
_FADED_OUTWARDS = (-0.5, 0.55)
_FADED_IN_PATCHES = (-0.2, 0.4)
_PLEXUS = 0.6
_SINUS_BEHIND_MM = 52.0
_SINUS_ABOVE_MM = 53.0


class Tissue(IntEnum):
    """Rows of the fractions of `mix_tissues`, and of a contrast."""

    CSF = 0
    GREY = 1
    WHITE = 2
    CORE = 3
    CYST = 4
    ENHANCING = 5
    OEDEMA = 6
    VESSEL = 7
    CAP = 8
    OTHER = 9


def mix_tissues(
    rng: np.random.Generator,
    anatomy: Anatomy,
    *,
    lesions: Lesions,
    model: ReaderModel,
    kind: PhantomKind,
    spacing_mm: tuple[float, float, float],
) -> Float32Array:
    """Fractions (len(Tissue), X, Y, Z), float32, of sum 1 in every voxel."""
    fractions = np.zeros((len(Tissue), *anatomy.shape), np.float32)
    covered = _put_lesion(rng, fractions, lesions=lesions, model=model, spacing_mm=spacing_mm)
    fractions[Tissue.OEDEMA] *= np.where(anatomy.wm + anatomy.gm > 0.15, np.float32(1), np.float32(0.15))
    if kind != "ms":
        caps = _caps(rng, anatomy, spacing_mm=spacing_mm)
        plexus = _plexus(rng, anatomy, spacing_mm=spacing_mm)
        fractions[Tissue.CAP] = np.maximum(caps, plexus) * (1 - covered)
    outside = np.clip(-anatomy.depth_mm / 2, 0, 1)
    fractions *= 1 - outside
    fractions[Tissue.OTHER] = outside
    free = 1 - fractions.sum(axis=0)
    vessels = _vessels(rng, anatomy, spacing_mm=spacing_mm) * free * (1 - covered)
    fractions[Tissue.VESSEL] = vessels
    for tissue, share in ((Tissue.CSF, anatomy.csf), (Tissue.GREY, anatomy.gm), (Tissue.WHITE, anatomy.wm)):
        fractions[tissue] = share * (free - vessels)
    return fractions


def with_faded_oedema(fractions: Float32Array, anatomy: Anatomy, kept: Float32Array) -> Float32Array:
    """Fractions, of sum 1, in which a share of the oedema (X, Y, Z) is kept and the rest is the tissue beneath it."""
    lost = fractions[Tissue.OEDEMA] * (1 - kept)
    faded = fractions.copy()
    faded[Tissue.OEDEMA] -= lost
    for tissue, share in ((Tissue.CSF, anatomy.csf), (Tissue.GREY, anatomy.gm), (Tissue.WHITE, anatomy.wm)):
        faded[tissue] += share * lost
    return faded


def _put_lesion(
    rng: np.random.Generator,
    fractions: Float32Array,
    *,
    lesions: Lesions,
    model: ReaderModel,
    spacing_mm: tuple[float, ...],
) -> Float32Array:
    """Write the lesion's parts into the fractions; returns how much of each voxel is lesion."""
    whole = model.visibility(lesions.boundary).astype(np.float32) ** np.float32(rng.lognormal(0, 0.25))
    wide = np.float32(_CORE_EDGE if lesions.enhancing.any() else 0.3)
    core = np.clip((1 - lesions.core) / wide + 0.5, 0, 1) * whole
    dead = np.clip((1 - lesions.necrosis) / _CORE_EDGE + 0.5, 0, 1)
    enhancing = core * (1 - dead) * lesions.enhancing
    fluid = smooth_field(rng, core.shape, length_mm=9, spacing_mm=spacing_mm)
    cyst = np.clip((fluid - np.float32(rng.uniform(-1.2, 2.0))) / 0.4 + 0.5, 0, 1) * dead
    fractions[Tissue.ENHANCING] = enhancing
    fractions[Tissue.CYST] = (core - enhancing) * cyst
    fractions[Tissue.CORE] = (core - enhancing) * (1 - cyst)
    fractions[Tissue.OEDEMA] = (whole - core) * _strength(rng, lesions.boundary, spacing_mm=spacing_mm)
    shown: Float32Array = whole.astype(np.float32)
    return shown


def _strength(rng: np.random.Generator, boundary: Float32Array, *, spacing_mm: tuple[float, ...]) -> Float32Array:
    """How much of the oedema's contrast is there, 0..1: often less farther out, and in patches."""
    outwards, patchy = (np.float32(max(0.0, rng.uniform(*span))) for span in (_FADED_OUTWARDS, _FADED_IN_PATCHES))
    relative_radius = np.clip(boundary + 1, 0, 1)
    patches = np.clip(smooth_field(rng, boundary.shape, length_mm=12, spacing_mm=spacing_mm), 0, 1)
    strength: Float32Array = (1 - outwards * relative_radius**2) * (1 - patchy * patches)
    return strength.astype(np.float32)


def _plexus(rng: np.random.Generator, anatomy: Anatomy, *, spacing_mm: tuple[float, ...]) -> Float32Array:
    """Choroid plexus in the ventricles, 0..1: brighter than the fluid around it where that is dark, and no lesion."""
    amount = np.float32(max(0.0, rng.uniform(-_PLEXUS, 1)))
    tufts = smooth_field(rng, anatomy.shape, length_mm=5, spacing_mm=spacing_mm)
    plexus: Float32Array = np.clip((tufts - np.float32(1.1)) / 0.5, 0, 1) * anatomy.ventricles * amount
    return plexus.astype(np.float32)


def _caps(rng: np.random.Generator, anatomy: Anatomy, *, spacing_mm: tuple[float, ...]) -> Float32Array:
    """Bright rims around the ventricles and spots in white matter, of age and no disease: 0..1."""
    amount = np.float32(rng.uniform(0, 1) * anatomy.age)
    sigma = [3.0 / s if n > 1 else 0.0 for n, s in zip(anatomy.shape, spacing_mm, strict=True)]
    near = ndi.gaussian_filter(anatomy.ventricles.astype(np.float32), sigma)
    patches = smooth_field(rng, anatomy.shape, length_mm=7, spacing_mm=spacing_mm)
    caps: Float32Array = np.clip(near * (1.6 + patches), 0, 1) + np.clip(patches - np.float32(2.4), 0, 1)
    return (np.clip(caps, 0, 1) * anatomy.wm * amount).astype(np.float32)


def _vessels(rng: np.random.Generator, anatomy: Anatomy, *, spacing_mm: tuple[float, ...]) -> Float32Array:
    """Vessels and the sagittal sinus, 0..1."""
    # The zero sets of two random fields cross in random curves, or points in a slice.
    first = smooth_field(rng, anatomy.shape, length_mm=14, spacing_mm=spacing_mm)
    second = smooth_field(rng, anatomy.shape, length_mm=14, spacing_mm=spacing_mm)
    width = np.float32(0.10 * max(1.0, spacing_mm[0]))
    curves = np.clip(1 - np.hypot(first, second) / width, 0, 1) * np.clip(1.6 * anatomy.csf + 0.12, 0, 1)
    x, y, z = anatomy.coords_mm
    shallow = np.clip(1 - anatomy.depth_mm / 6, 0, 1)
    sinus = np.clip(1 - np.abs(x) / 4, 0, 1) * shallow * ((y > _SINUS_BEHIND_MM) | (z > _SINUS_ABOVE_MM))
    vessels: Float32Array = np.maximum(curves, np.float32(rng.uniform(0, 1)) * sinus)
    return vessels.astype(np.float32)
