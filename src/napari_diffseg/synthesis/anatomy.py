"""One patient's tissue: the template deformed, aged, pushed by a tumour and given gyri of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy import ndimage as ndi

from napari_diffseg.synthesis.fields import Float32Array, smooth_field
from napari_diffseg.synthesis.template import load_template

if TYPE_CHECKING:
    from napari_diffseg.synthesis.grid import PhantomGrid, Pose
    from napari_diffseg.synthesis.seeds import LesionSeed

_FLUID_DEPTH_MM = 4.0
_VENTRICLES_MM = (0.0, 15.0, 10.0)
_VENTRICLE_SIZE_MM = (26.0, 44.0, 24.0)


@dataclass(frozen=True, slots=True, eq=False)
class Anatomy:
    """The healthy tissue of one patient on the box of a grid; arrays (X, Y, Z).

    Attributes
    ----------
    coords_mm : ndarray, (3, X, Y, Z), float32
        Template LPS mm of each voxel before tissue was pushed; lesions grow in these.
    csf, gm, wm : ndarray, float32
        Fractions of sum 1, defined outside the head too.
    depth_mm : ndarray, float32
        Depth below the surface of the brain, negative outside.
    brain : ndarray, bool
        The voxels that are brain.
    ventricles : ndarray, bool
        Fluid in bulk, where oedema does not go.
    age : float
        0 (narrow ventricles and sulci) to 1 (wide).
    """

    coords_mm: Float32Array
    csf: Float32Array
    gm: Float32Array
    wm: Float32Array
    depth_mm: Float32Array
    brain: npt.NDArray[np.bool_]
    ventricles: npt.NDArray[np.bool_]
    age: float

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape (X, Y, Z) of the box."""
        x, y, z = self.brain.shape
        return x, y, z


def make_anatomy(rng: np.random.Generator, grid: PhantomGrid, *, pose: Pose, tumour: LesionSeed | None) -> Anatomy:
    """A patient of random age on the grid's box, whose tissue a tumour, if any, has pushed aside."""
    age = float(rng.random())
    axes = grid.axes_mm()
    coords = pose.to_template(axes)
    shape = coords.shape[1:]
    for u in coords:
        u += 2.6 * smooth_field(rng, shape, length_mm=28, spacing_mm=grid.spacing_mm)
        u += 0.8 * smooth_field(rng, shape, length_mm=9, spacing_mm=grid.spacing_mm)
    pushed = _wider_ventricles(coords, amount=rng.uniform(-0.08, 0.1) + 0.35 * age)
    mass = rng.uniform(0.05, 0.32)
    if tumour is not None:
        # Sampling closer to the centre than one looks pushes the tissue outwards.
        centre = np.reshape(tumour.centre_mm, (3, 1, 1, 1)).astype(np.float32)
        pull = mass * np.exp(-((tumour.distance_mm(coords) / (2.2 * tumour.radius_mm)) ** 2))
        pushed = pushed - pull.astype(np.float32) * (pushed - centre)
    gm, wm, depth = load_template().sample(pushed)
    csf, gm, wm = _individual(rng, grid, age=age, tissue=(gm, wm, depth))
    sigma = [1.0 if n > 1 else 0.0 for n in shape]
    ventricles = ndi.gaussian_filter(csf, sigma) > 0.75
    return Anatomy(coords, csf, gm, wm, depth, depth > 0, ventricles, age)


def _wider_ventricles(coords_mm: Float32Array, *, amount: float) -> Float32Array:
    """Sampling points drawn towards the ventricles, which makes them wider; negative amounts make them narrower."""
    centre = np.reshape(_VENTRICLES_MM, (3, 1, 1, 1)).astype(np.float32)
    size = np.reshape(_VENTRICLE_SIZE_MM, (3, 1, 1, 1)).astype(np.float32)
    away = coords_mm - centre
    pull = np.float32(amount) * np.exp(-((away / size) ** 2).sum(axis=0))
    drawn: Float32Array = coords_mm - pull * away
    return drawn


def _individual(
    rng: np.random.Generator,
    grid: PhantomGrid,
    *,
    age: float,
    tissue: tuple[Float32Array, Float32Array, Float32Array],
) -> tuple[Float32Array, Float32Array, Float32Array]:
    """CSF, grey and white matter of one person from grey, white and depth of an average one.

    The evidence for each is perturbed, then sharpened; fluid gains near the surface, where the template has little.
    """
    gm, wm, depth = tissue
    amplitude, sharpness = rng.uniform(0.35, 0.7), rng.uniform(1.2, 2.4)
    sulci = rng.normal(0, 0.25) + 0.6 * age
    surface = (rng.uniform(0.8, 3.0) + age) * np.exp(-np.maximum(depth, 0) / np.float32(_FLUID_DEPTH_MM))
    evidence = []
    for map_, bias in ((1 - gm - wm, sulci + surface), (gm, 0.0), (wm, 0.0)):
        e = np.log(np.clip(map_, 1e-3, 1)) + np.asarray(bias, np.float32)
        e += amplitude * 0.75 * smooth_field(rng, gm.shape, length_mm=5, spacing_mm=grid.spacing_mm)
        e += amplitude * 0.45 * smooth_field(rng, gm.shape, length_mm=2.5, spacing_mm=grid.spacing_mm)
        evidence.append(e)
    best = np.maximum(np.maximum(evidence[0], evidence[1]), evidence[2])
    weights = [np.exp(np.float32(sharpness) * (e - best)) for e in evidence]
    total = weights[0] + weights[1] + weights[2]
    csf, grey, white = (w / total for w in weights)
    return csf, grey, white
