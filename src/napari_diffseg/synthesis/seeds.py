"""Where lesions start, how large they are and how far their oedema reaches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from napari_diffseg.synthesis.fields import Float32Array
    from napari_diffseg.synthesis.settings import PhantomKind
    from napari_diffseg.synthesis.template import Template

LARGEST_CORE_MM = 40.0
_LARGEST_REACH_MM = 55.0
_HEIGHTS_MM = (-27.0, 53.0)
_VENTRICLES_MM = (0.0, 15.0, 12.0)
_VENTRICLE_SIZE_MM = (26.0, 46.0, 24.0)


@dataclass(frozen=True, slots=True)
class LesionSeed:
    """One lesion before it grows.

    Attributes
    ----------
    centre_mm : tuple of float
        LPS mm in template space.
    radius_mm : float
        Radius of the core (of the whole lesion in multiple sclerosis).
    spread : float
        Reach of the oedema as a multiple of the radius, at least 1.
    stretch : tuple of float
        Relative lengths of the axes, of product 1.
    """

    centre_mm: tuple[float, float, float]
    radius_mm: float
    spread: float
    stretch: tuple[float, float, float]

    @property
    def reach_mm(self) -> float:
        """About how far from the centre the lesion is seen."""
        return self.radius_mm * self.spread

    def distance_mm(self, coords_mm: Float32Array) -> Float32Array:
        """Stretched distance of points (3, ...) from the centre, mm, float32."""
        total = np.zeros(coords_mm.shape[1:], np.float32)
        for u, c, s in zip(coords_mm, self.centre_mm, self.stretch, strict=True):
            total += ((u - np.float32(c)) / np.float32(s)) ** 2
        return np.sqrt(total)


def draw_seeds(rng: np.random.Generator, kind: PhantomKind, template: Template) -> tuple[LesionSeed, ...]:
    """The lesions of a patient of this kind, the largest first for tumours; none in health."""
    if kind == "healthy":
        return ()
    index = np.argwhere((template.wm > 0.55) & (template.depth > 4)).astype(np.float32)
    points = template.points_mm(index)
    points = points[(points[:, 2] > _HEIGHTS_MM[0]) & (points[:, 2] < _HEIGHTS_MM[1])]
    if kind == "ms":
        return _sclerosis(rng, points)
    first = _glioma_size(rng) if kind == "glioma" else (rng.uniform(9, 32), rng.uniform(1.05, 1.5))
    sizes = [first]
    if kind == "glioma" and rng.random() < 0.25:
        sizes.append((rng.uniform(4, 10), rng.uniform(1.3, 2.2)))
    return tuple(_seed(rng, points, radius_mm=r, spread=s, irregular=0.22) for r, s in sizes)


def _glioma_size(rng: np.random.Generator) -> tuple[float, float]:
    large = rng.random() < 0.35
    radius = rng.uniform(22, LARGEST_CORE_MM) if large else rng.uniform(7, 24)
    spread = rng.uniform(1.1, 1.6) if large else rng.uniform(1.3, 2.4)
    return radius, max(1.05, min(spread, _LARGEST_REACH_MM / radius))


def _sclerosis(rng: np.random.Generator, points: Float32Array) -> tuple[LesionSeed, ...]:
    """Many small lesions, most of them around the ventricles."""
    away = np.linalg.norm((points - np.array(_VENTRICLES_MM)) / np.array(_VENTRICLE_SIZE_MM), axis=1)
    near = points[away < 1.3]
    return tuple(
        _seed(rng, near if rng.random() < 0.7 else points, radius_mm=rng.uniform(1.5, 6), spread=1.0, irregular=0.3)
        for _ in range(int(rng.integers(6, 30)))
    )


def _seed(
    rng: np.random.Generator, points: Float32Array, *, radius_mm: float, spread: float, irregular: float
) -> LesionSeed:
    x, y, z = (float(v) for v in points[rng.integers(len(points))])
    lengths = rng.lognormal(0, irregular, 3)
    a, b, c = (float(v) for v in lengths / lengths.prod() ** (1 / 3))
    return LesionSeed((x, y, z), float(radius_mm), float(spread), (a, b, c))
