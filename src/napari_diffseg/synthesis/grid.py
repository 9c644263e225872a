"""Where the voxels of a phantom lie in the head, and the head in template space."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt

from napari_diffseg.synthesis.template import CENTRE_MM

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_diffseg.synthesis.fields import Float32Array
    from napari_diffseg.synthesis.seeds import LesionSeed
    from napari_diffseg.synthesis.settings import PhantomSettings

_Scalar = TypeVar("_Scalar", bound=np.generic)

_BRAIN_HALF_MM = (88.0, 108.0, 92.0)
"""Nothing of a head lies further than this from the brain's centre."""

_BRATS_HEIGHT_MM = 71.0
"""Height of the brain's centre in a BraTS volume."""

_BRATS_OFFSET_MM = (-1.0, 11.5, -6.0)
"""The brain's centre from the middle of a BraTS field of view of 240 x 240 x 155 mm, LPS."""

_HEIGHTS_MM = (-50.0, 64.0)
"""Heights, from the brain's centre, that slabs without a lesion are drawn from."""


@dataclass(frozen=True, slots=True, eq=False)
class Pose:
    """How one head lies in template space: template = matrix @ head + centre, both LPS mm.

    The head's own origin is the brain's centre. The matrix also holds its size: heads differ by about 5 %.
    """

    matrix: npt.NDArray[np.float64]

    def to_template(self, axes_mm: Sequence[Float32Array]) -> Float32Array:
        """Template LPS mm (3, X, Y, Z) of the grid spanned by three sets of head coordinates (X,), (Y,), (Z,)."""
        x, y, z = np.meshgrid(*axes_mm, indexing="ij", sparse=True)
        m = self.matrix.astype(np.float32)
        rows = [np.float32(c) + m[i, 0] * x + m[i, 1] * y + m[i, 2] * z for i, c in enumerate(CENTRE_MM)]
        return np.stack(rows)

    def to_head(self, point_mm: tuple[float, float, float]) -> npt.NDArray[np.float64]:
        """Head LPS mm of a point in template space."""
        return np.linalg.solve(self.matrix, np.array(point_mm) - np.array(CENTRE_MM))


def draw_pose(rng: np.random.Generator) -> Pose:
    """A head of random size, slightly turned; BraTS heads are smaller than the template's from front to back."""
    size = (
        np.array([0.95, 0.91, 0.90])
        * np.clip(rng.normal(1, 0.03, 3), 0.9, 1.1)
        * np.clip(rng.normal(1, 0.03), 0.93, 1.07)
    )
    matrix = np.diag(1 / size)
    for axis, angle in enumerate(np.deg2rad(rng.normal(0, 4, 3))):
        i, j = (k for k in range(3) if k != axis)
        turn = np.eye(3)
        turn[i, i] = turn[j, j] = np.cos(angle)
        turn[i, j], turn[j, i] = -np.sin(angle), np.sin(angle)
        matrix = matrix @ turn
    return Pose(matrix)


@dataclass(frozen=True, slots=True, eq=False)
class PhantomGrid:
    """The voxels of a phantom, and the box of them that can hold brain (most of a BraTS volume is air).

    Attributes
    ----------
    shape : tuple of int
        Voxels (X, Y, Z), axes LPS.
    spacing_mm : tuple of float
        Voxel size.
    origin_mm : tuple of float
        Centre of voxel (0, 0, 0) in head LPS mm.
    is_slab : bool
        Whether the grid is a slab of the head.
    """

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    origin_mm: tuple[float, float, float]
    is_slab: bool

    @property
    def box(self) -> tuple[slice, slice, slice]:
        """The part of the grid within reach of the brain; at least one voxel along each axis."""
        parts = []
        for n, s, o, half in zip(self.shape, self.spacing_mm, self.origin_mm, _BRAIN_HALF_MM, strict=True):
            first = min(n - 1, max(0, int(np.floor((-half - o) / s))))
            parts.append(slice(first, max(first + 1, min(n, int(np.ceil((half - o) / s)) + 1))))
        return parts[0], parts[1], parts[2]

    def axes_mm(self) -> list[Float32Array]:
        """Head LPS mm of the box's voxels along each axis."""
        return [
            (o + s * np.arange(b.start, b.stop)).astype(np.float32)
            for b, s, o in zip(self.box, self.spacing_mm, self.origin_mm, strict=True)
        ]

    def embed(self, array: npt.NDArray[_Scalar]) -> npt.NDArray[_Scalar]:
        """An array on the box (..., x, y, z) as one on the whole grid (..., X, Y, Z), zero elsewhere."""
        whole = np.zeros(array.shape[:-3] + self.shape, array.dtype)
        whole[(..., *self.box)] = array
        return whole

    @property
    def affine(self) -> npt.NDArray[np.float64]:
        """Voxel index to RAS+ mm as BraTS has it: LPS voxels, origin (0, 239, 0) for 240 x 240 x 155 at 1 mm."""
        x, y, z = self.spacing_mm
        affine = np.diag([-x, -y, z, 1.0])
        affine[1, 3] = (self.shape[1] - 1) * y
        affine[2, 3] = _BRATS_HEIGHT_MM + self.origin_mm[2] if self.is_slab else 0.0
        return affine


def place_grid(
    settings: PhantomSettings, rng: np.random.Generator, *, pose: Pose, seeds: tuple[LesionSeed, ...]
) -> PhantomGrid:
    """The grid asked for, laid on the head as BraTS does; a slab is placed on, or beside, the lesions."""
    origin = []
    for n, s, offset in zip(settings.shape, settings.spacing_mm, _BRATS_OFFSET_MM, strict=True):
        slack = np.clip((n * s - 200) / 40, 0, 1) if offset > 0 else 1.0
        origin.append(float(-(n - 1) / 2 * s - slack * offset + np.clip(rng.normal(0, 2), -4, 4)))
    slab_mm = (settings.shape[2] - 1) * settings.spacing_mm[2]
    height = _slab_height(settings, rng, pose=pose, seeds=seeds, slab_mm=slab_mm)
    if settings.is_slab:
        origin[2] = height - slab_mm / 2
    return PhantomGrid(settings.shape, settings.spacing_mm, (origin[0], origin[1], origin[2]), settings.is_slab)


def _slab_height(
    settings: PhantomSettings, rng: np.random.Generator, *, pose: Pose, seeds: tuple[LesionSeed, ...], slab_mm: float
) -> float:
    """Height in the head of a slab's middle, mm."""
    empty, pick, where = rng.random(3)
    candidates = rng.uniform(*_HEIGHTS_MM, 24)
    if settings.slice_z is not None:
        return settings.slice_z - _BRATS_HEIGHT_MM
    if not seeds:
        return float(candidates[0])
    centres = np.array([pose.to_head(seed.centre_mm)[2] for seed in seeds])
    reach = np.array([seed.reach_mm for seed in seeds])
    if empty < settings.empty_fraction:
        gaps = (np.abs(candidates[:, None] - centres) - reach - slab_mm / 2).min(axis=1)
        free = np.flatnonzero(gaps > 0.6 * reach.max())
        return float(candidates[free[0] if free.size else np.argmax(gaps)])
    # The first lesion of a tumour is the large one; the lesions of sclerosis are alike.
    i = int(pick * len(seeds)) if settings.kind == "ms" else 0
    return float(centres[i] + (2 * where - 1) * (0.65 * reach[i] + slab_mm / 4))
