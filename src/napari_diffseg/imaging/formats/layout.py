"""What a checked header says, whichever format it is of; and the checks that formats share."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Callable

    from nibabel.spatialimages import SpatialHeader

    from napari_diffseg.errors import BadImage

_LEAST_MM, _MOST_MM = 0.001, 1000.0
_FARTHEST_MM = 1e6
_LEAST_VOLUME = 1e-2


@dataclass(frozen=True, eq=False)
class Layout:
    """Where a file's voxels are, and what they mean.

    Attributes
    ----------
    header : nibabel header or None
        Without extensions, which are never parsed; None for formats that are not nibabel's.
    shape : tuple of int
        Three axes, or four with channels; trailing axes of one voxel are gone.
    dtype : numpy dtype
        Of the stored values, in the file's byte order.
    offset : int
        Byte at which the voxels begin.
    is_single : bool
        Whether the voxels are in the header's own file.
    slope, inter : float
        Scaling of the stored values; 1 and 0 where none is set.
    affine : ndarray, (4, 4), float64
        Voxel indices to RAS+ mm.
    notes : tuple of str
        What is doubtful about the orientation.
    tail_bytes : int
        Most bytes that may follow the voxels.
    refusal : BadImage or None
        Why the voxels cannot be used, where the grid can; what else is said of them then counts for nothing.
    """

    header: SpatialHeader | None
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int
    is_single: bool
    slope: float
    inter: float
    affine: npt.NDArray[np.float64]
    notes: tuple[str, ...]
    tail_bytes: int
    refusal: BadImage | None = None

    @property
    def channels(self) -> int:
        """Volumes in the file; 1 for a 3-D one."""
        return self.shape[3] if len(self.shape) == 4 else 1

    @property
    def nbytes(self) -> int:
        """Bytes of the stored voxels."""
        return math.prod(self.shape) * self.dtype.itemsize


def checked_shape(sizes: list[int], bad: Callable[[str], BadImage]) -> tuple[int, ...]:
    """The axes of an image, three or four, from those that a header claims.

    Raises
    ------
    BadImage
        If one is below 1, or the image has one axis, or more than four that are longer than 1.
    """
    claimed = " x ".join(map(str, sizes))
    if any(n <= 0 for n in sizes):
        raise bad(f"claims {claimed} voxels, and no dimension may be below 1: export it again")
    shape = list(sizes)
    while len(shape) > 3 and shape[-1] == 1:
        shape.pop()
    if len(shape) < 2:
        raise bad("has a single dimension and is no image: give a volume")
    if len(shape) > 4:
        raise bad(f"has {len(shape)} dimensions ({claimed}): extract the volumes that you need from it")
    return tuple(shape + [1] * (3 - len(shape)))


def checked_affine(affine: npt.ArrayLike, bad: Callable[[str], BadImage]) -> npt.NDArray[np.float64]:
    """An affine in mm, float64, whose voxels have a possible size and span a volume.

    Raises
    ------
    BadImage
        If it is not finite, its voxels are outside 0.001 to 1000 mm or a kilometre away, or its axes lie in one plane.
    """
    checked = np.asarray(affine, dtype=np.float64)
    if not np.isfinite(checked).all():
        raise bad("has an orientation that is not a number: repair its header")
    largest = np.abs(checked).max()
    if largest > _FARTHEST_MM:  # squares of such numbers overflow
        raise bad(f"claims voxels or a position of {largest:g} mm: repair its header")
    sizes = np.sqrt((checked[:3, :3] ** 2).sum(axis=0))
    if (sizes < _LEAST_MM).any() or (sizes > _MOST_MM).any():
        raise bad(f"claims voxels of {sizes[0]:g} x {sizes[1]:g} x {sizes[2]:g} mm: repair its header")
    if abs(np.linalg.det(checked[:3, :3] / sizes)) < _LEAST_VOLUME:
        raise bad("has an orientation whose axes lie in one plane: repair its header")
    return checked
