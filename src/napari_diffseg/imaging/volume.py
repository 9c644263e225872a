"""One image: an array in its file's own voxel order, and where its voxels lie in the patient."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from nibabel.nifti1 import Nifti1Header
from nibabel.orientations import aff2axcodes

from napari_diffseg.errors import BadImage
from napari_diffseg.imaging.names.naming import shown_name

if TYPE_CHECKING:
    from pathlib import Path

    from nibabel.spatialimages import SpatialHeader

_SAME_GRID_VOXELS = 0.05
_RIGHT_ANGLE_DEGREES = 89.5


@dataclass(frozen=True, eq=False)
class Volume:
    """An image in its file's own voxel order; never reoriented behind anybody's back.

    Attributes
    ----------
    data : ndarray, (X, Y, Z), bool, integer or float
        Scaled intensities, or labels.
    affine : ndarray, (4, 4), float64
        Voxel indices to RAS+ mm.
    header : nibabel header or None
        Geometry fields are copied from it when a result is written on this grid.
    path : Path or None
        The file read; None when the array does not come from one.
    notes : tuple of str
        What a user should know about the file: repaired voxels, an orientation that is not stated.
    file_digest : str or None
        SHA-256 of the file's bytes, set by the readers; counts only while `path` is set.
    resampled_to : str or None
        What the image is called whose grid this one was brought to; None where the voxels are its own.

    Raises
    ------
    BadImage
        If the array is not three-dimensional and real, or the affine is not finite and invertible.
    """

    data: npt.NDArray[Any]
    affine: npt.NDArray[np.float64]
    header: SpatialHeader | None
    path: Path | None
    notes: tuple[str, ...]
    file_digest: str | None = None
    resampled_to: str | None = None

    def __post_init__(self) -> None:
        name = "An array" if self.path is None else shown_name(self.path)
        if self.data.ndim != 3 or 0 in self.data.shape or self.data.dtype.kind not in "biuf":
            raise BadImage(
                f"{name}: {self.data.dtype} of shape {self.data.shape} is no volume: "
                "give a three-dimensional image of real numbers."
            )
        affine = np.array(self.affine, dtype=np.float64)
        if affine.shape != (4, 4) or not np.isfinite(affine).all() or np.linalg.det(affine) == 0:
            raise BadImage(f"{name}: its affine does not place voxels in space: repair the file's orientation.")
        affine.setflags(write=False)
        object.__setattr__(self, "affine", affine)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along the three axes of the file."""
        x, y, z = self.data.shape
        return x, y, z

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Size of a voxel along the three axes of the file, in mm."""
        x, y, z = np.sqrt((self.affine[:3, :3] ** 2).sum(axis=0))
        return float(x), float(y), float(z)

    @property
    def voxel_mm3(self) -> float:
        """Volume of a voxel in mm3: the affine's determinant, which is right for sheared grids, too."""
        return abs(float(np.linalg.det(self.affine[:3, :3])))

    @property
    def axis_codes(self) -> tuple[str, str, str]:
        """Direction in which each axis increases, to the nearest, such as ("L", "P", "S")."""
        a, b, c = aff2axcodes(self.affine)  # type: ignore[no-untyped-call]
        return str(a), str(b), str(c)

    @property
    def description(self) -> str:
        """What the file's NIfTI header says that it holds; empty where it says nothing."""
        if not isinstance(self.header, Nifti1Header):
            return ""
        words: bytes = self.header["descrip"].item()
        return words.decode("ascii", "replace").strip()

    @cached_property
    def digest(self) -> str:
        """SHA-256 that names the content: of the file's bytes where it comes from a file, else of array and affine."""
        if self.path is not None and self.file_digest is not None:
            return self.file_digest
        kind = f"{self.data.dtype.newbyteorder('<').str} {self.data.shape}".encode()
        little = self.data.astype(self.data.dtype.newbyteorder("<"), copy=False)
        content = hashlib.sha256(kind)
        content.update(self.affine.astype("<f8").tobytes())
        content.update(little.tobytes(order="F"))
        return content.hexdigest()


def corner_voxels(shape: tuple[int, int, int]) -> npt.NDArray[np.float64]:
    """Indices of the eight corner voxels of a grid, homogeneous: (4, 8)."""
    return np.array([(*c, 1.0) for c in product(*((0, n - 1) for n in shape))]).T


def same_grid(a: Volume, b: Volume) -> bool:
    """Whether two volumes have the same shape and every corner voxel of one is within 0.05 voxel of the other's."""
    if a.shape != b.shape:
        return False
    corners = corner_voxels(a.shape)
    moved = np.linalg.solve(a.affine, b.affine @ corners)
    return bool(np.abs(moved - corners).max() <= _SAME_GRID_VOXELS)


def shear_notes(volume: Volume) -> tuple[str, ...]:
    """One note if the axes of a volume's grid do not meet at right angles, to within half a degree; else none."""
    directions = volume.affine[:3, :3] / np.array(volume.spacing_mm)
    cosines = np.abs(np.triu(directions.T @ directions, k=1)).clip(max=1)
    angle = float(np.degrees(np.arccos(cosines.max())))
    if angle > _RIGHT_ANGLE_DEGREES:
        return ()
    return (
        f"its grid is sheared, two of its axes meet at {angle:.1f} degrees: volumes are right, but distances in mm are "
        "measured along its axes as if these met at right angles.",
    )


def describe_grid(volume: Volume) -> str:
    """A volume's grid in words, such as "240 x 240 x 155 voxels of 1.00 x 1.00 x 1.00 mm, LPS"."""
    shape = " x ".join(str(n) for n in volume.shape)
    spacing = " x ".join(f"{s:.2f}" for s in volume.spacing_mm)
    return f"{shape} voxels of {spacing} mm, {''.join(volume.axis_codes)}"
