"""The average brain that every phantom is a deformation of."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage as ndi

if TYPE_CHECKING:
    from napari_diffseg.synthesis.fields import Float32Array

CENTRE_MM = (0.0, 22.0, 8.0)
"""The middle of the brain in template space (LPS mm)."""


@dataclass(frozen=True, slots=True, eq=False)
class Template:
    """Tissue maps of the ICBM152 2009a template at 2 mm, axes LPS (see data/NOTICE.md).

    Attributes
    ----------
    gm, wm : ndarray, (X, Y, Z), float32
        Probability of grey and white matter.
    depth : ndarray, (X, Y, Z), float32
        Depth below the surface of the brain in mm, negative outside, clipped to [-8, 24].
    origin_mm : tuple of float
        Centre of voxel (0, 0, 0), LPS mm.
    spacing_mm : float
        Voxel size, mm.
    """

    gm: Float32Array
    wm: Float32Array
    depth: Float32Array
    origin_mm: tuple[float, float, float]
    spacing_mm: float

    def sample(self, coords_mm: Float32Array) -> tuple[Float32Array, Float32Array, Float32Array]:
        """Grey matter, white matter and depth at points, linearly interpolated.

        Parameters
        ----------
        coords_mm : ndarray, (3, ...), float32
            LPS mm in template space; points outside take the border's values.

        Returns
        -------
        tuple of three ndarray, (...), float32
        """
        index = (coords_mm - np.reshape(self.origin_mm, (3,) + (1,) * (coords_mm.ndim - 1))) / self.spacing_mm
        gm, wm, depth = (
            ndi.map_coordinates(m, index, order=1, mode="nearest", output=np.float32)
            for m in (self.gm, self.wm, self.depth)
        )
        return gm, wm, depth

    def points_mm(self, index: Float32Array) -> Float32Array:
        """LPS mm of voxel indices (N, 3)."""
        points: Float32Array = (index * self.spacing_mm + np.array(self.origin_mm)).astype(np.float32)
        return points


@lru_cache(maxsize=1)
def load_template() -> Template:
    """The template shipped with the package, read once."""
    with (files("napari_diffseg") / "data" / "template.npz").open("rb") as stream, np.load(stream) as maps:
        scale, offset = maps["depth_scale"]
        x, y, z = (float(v) for v in maps["origin_mm"])
        return Template(
            gm=maps["gm"].astype(np.float32) / np.float32(255),
            wm=maps["wm"].astype(np.float32) / np.float32(255),
            depth=(maps["depth"] * scale + offset).astype(np.float32),
            origin_mm=(x, y, z),
            spacing_mm=float(maps["spacing_mm"]),
        )
