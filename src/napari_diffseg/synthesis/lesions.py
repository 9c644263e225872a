"""Lesions as level functions: irregular cores, rims, necrosis, and oedema that follows white matter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy import ndimage as ndi

from napari_diffseg.synthesis.fields import Float32Array, smooth_field

if TYPE_CHECKING:
    from napari_diffseg.synthesis.anatomy import Anatomy
    from napari_diffseg.synthesis.seeds import LesionSeed
    from napari_diffseg.synthesis.settings import PhantomKind

FAR = np.float32(8.0)
"""Level of voxels that no lesion can reach."""

_THICKEST_RIM_MM = 11.0
_DISAGREEMENT_AT_CORE = 0.25
_ALONG_WHITE_MATTER = (0.5, 2.2)
"""How strongly oedema prefers white matter, between patients: round at the low end, in fingers at the high one."""
_ACROSS_MIDLINE = (0.25, 1.0)
"""What the midline adds to its cost: some tumours cross the callosum, others stop before it."""


@dataclass(frozen=True, slots=True, eq=False)
class Lesions:
    """The lesions of one patient on the box of a grid; arrays (X, Y, Z) float32.

    Attributes
    ----------
    boundary : ndarray
        A reader of delta d draws the mask where this is below d: relative radius - 1, -1 inside a core that all
        readers see, `FAR` where there is no lesion.
    core, necrosis : ndarray
        Below 1 inside the tumour's core and inside its necrosis.
    enhancing : ndarray
        0..1: how much of the core's rim takes up contrast medium here; 0 everywhere in tumours that do not.
    """

    boundary: Float32Array
    core: Float32Array
    necrosis: Float32Array
    enhancing: Float32Array

    @property
    def in_core(self) -> npt.NDArray[np.bool_]:
        """The core of tumours."""
        return self.core < 1

    @property
    def in_enhancing(self) -> npt.NDArray[np.bool_]:
        """The enhancing part of the core."""
        return self.in_core & (self.necrosis >= 1) & (self.enhancing > 0.5)


def region_levels(lesions: Lesions, boundary: Float32Array, *, median: float) -> dict[int, Float32Array]:
    """Level functions of the nested regions, by the BraTS label of their own part: whole, core, enhancing tumour.

    A reader of delta d draws a region where its level is below d, so the probability of each is known in closed form.
    Readers agree on the core better than on the oedema around it, because the images show its edge: they differ there
    by a quarter of what they differ by at the outer boundary. The reader in the middle draws the true core.

    Parameters
    ----------
    lesions : Lesions
        Of one patient.
    boundary : ndarray, (X, Y, Z), float32
        `lesions.boundary`, infinite where nobody can mark anything.
    median : float
        Delta of the reader in the middle.

    Returns
    -------
    dict of int to ndarray, (X, Y, Z), float32
        2 the whole, 1 the core within it, 4 the enhancing part of that; each is at least the one before.
    """
    middle, share = np.float32(median), np.float32(_DISAGREEMENT_AT_CORE)
    core = np.maximum(boundary, middle + (lesions.core - 1) / share)
    rim = np.where(lesions.enhancing > 0.5, middle + (1 - lesions.necrosis) / share, np.float32(np.inf))
    return {2: boundary, 1: core, 4: np.maximum(core, rim)}


@dataclass(frozen=True, slots=True)
class _Rim:
    """Thickness of the rim relative to the radius, and the field value above which it enhances (none: nowhere)."""

    thickness: float
    threshold: float | None


def grow_lesions(
    rng: np.random.Generator,
    seeds: tuple[LesionSeed, ...],
    *,
    anatomy: Anatomy,
    kind: PhantomKind,
    spacing_mm: tuple[float, float, float],
) -> Lesions:
    """Grow the seeds into the patient's tissue."""
    far = np.full(anatomy.shape, FAR, np.float32)
    if not seeds:
        return Lesions(far, far, far, np.zeros_like(far))
    distances = [seed.distance_mm(anatomy.coords_mm) for seed in seeds]
    reach = np.minimum.reduce([d / np.float32(s.reach_mm) for d, s in zip(distances, seeds, strict=True)])
    cost = _oedema_cost(rng, anatomy, seeds[0], spacing_mm=spacing_mm)
    if kind == "ms":
        rough = 0.25 * smooth_field(rng, anatomy.shape, length_mm=4, spacing_mm=spacing_mm)
        whole = confine(reach * np.exp(rough) * np.sqrt(cost), anatomy, core=far)
        return Lesions(whole - 1, far, far, np.zeros_like(far))
    radii = np.minimum.reduce([d / np.float32(s.radius_mm) for d, s in zip(distances, seeds, strict=True)])
    core = _irregular(rng, radii, spacing_mm=spacing_mm)
    rough = 0.18 * smooth_field(rng, anatomy.shape, length_mm=14, spacing_mm=spacing_mm)
    rough += 0.08 * smooth_field(rng, anatomy.shape, length_mm=5, spacing_mm=spacing_mm)
    whole = np.minimum(reach * cost * np.exp(rough), core)
    boundary = confine(whole, anatomy, core=core) - 1
    rim = _draw_rim(rng, kind, radius_mm=seeds[0].radius_mm)
    necrosis, enhancing = _inside(rng, core, rim=rim, spacing_mm=spacing_mm)
    if rim.threshold is not None:
        # Readers agree on an enhancing core, not on the oedema around it.
        boundary = np.where((core < 1) & anatomy.brain, np.float32(-1), boundary)
    core = np.where(anatomy.brain, core, FAR)
    return Lesions(boundary, core, necrosis, enhancing)


def _irregular(rng: np.random.Generator, radii: Float32Array, *, spacing_mm: tuple[float, ...]) -> Float32Array:
    """Relative radii with an irregular surface, rough at three scales."""
    rough = np.float32(rng.uniform(0.12, 0.32))
    surface = smooth_field(rng, radii.shape, length_mm=16, spacing_mm=spacing_mm)
    surface += 0.55 * smooth_field(rng, radii.shape, length_mm=7, spacing_mm=spacing_mm)
    surface += 0.30 * smooth_field(rng, radii.shape, length_mm=3.5, spacing_mm=spacing_mm)
    irregular: Float32Array = radii * np.exp(rough * surface)
    return irregular


def _oedema_cost(
    rng: np.random.Generator, anatomy: Anatomy, seed: LesionSeed, *, spacing_mm: tuple[float, ...]
) -> Float32Array:
    """Factor on the distance: low in white matter, high in grey matter and across the midline."""
    along, across = (np.float32(rng.uniform(*span)) for span in (_ALONG_WHITE_MATTER, _ACROSS_MIDLINE))
    sigma = [2.0 / s if n > 1 else 0.0 for n, s in zip(anatomy.shape, spacing_mm, strict=True)]
    white = np.clip(ndi.gaussian_filter(anatomy.wm, sigma), 0, 1)
    cost = np.exp(along * (np.float32(0.75) - white))
    over = -np.sign(seed.centre_mm[0]) * anatomy.coords_mm[0] / 6
    crossed: Float32Array = (cost * (1 + across * np.clip(over, 0, 1))).astype(np.float32)
    return crossed


def confine(whole: Float32Array, anatomy: Anatomy, *, core: Float32Array) -> Float32Array:
    """Keep lesions in the brain, and oedema out of the ventricles."""
    dry = np.where(anatomy.ventricles & (core > 1), np.maximum(whole, np.float32(1.8)), whole)
    return np.where(anatomy.brain, np.minimum(dry, 1 + FAR), 1 + FAR)


def _draw_rim(rng: np.random.Generator, kind: PhantomKind, *, radius_mm: float) -> _Rim:
    """Ring, broken ring, solid, patchy, or nothing: the ways in which a core enhances."""
    style, amount = rng.random(2)
    if kind == "lowgrade" and style < 0.8:
        return _Rim(0.0, None)
    if style < 0.35:
        return _Rim(min(0.15 + 0.35 * amount, _THICKEST_RIM_MM / radius_mm), -3.0)
    if style < 0.65:
        return _Rim(min(0.15 + 0.45 * amount, _THICKEST_RIM_MM / radius_mm), -0.9 + 0.9 * amount)
    if style < 0.80:
        return _Rim(0.7 + 0.8 * amount, -1.5)
    return _Rim(0.3 + 0.7 * amount, 0.6 + amount)


def _inside(
    rng: np.random.Generator, core: Float32Array, *, rim: _Rim, spacing_mm: tuple[float, ...]
) -> tuple[Float32Array, Float32Array]:
    """Level function of the necrosis, and where the rest of the core enhances (0..1)."""
    uneven = np.exp(0.5 * smooth_field(rng, core.shape, length_mm=9, spacing_mm=spacing_mm))
    patches = smooth_field(rng, core.shape, length_mm=8, spacing_mm=spacing_mm)
    patches += 0.5 * smooth_field(rng, core.shape, length_mm=3, spacing_mm=spacing_mm)
    if rim.threshold is None:
        return core, np.zeros_like(core)
    gate = np.clip((patches - np.float32(rim.threshold)) / np.float32(0.5) + np.float32(0.5), 0, 1)
    return core + np.float32(rim.thickness) * uneven, gate
