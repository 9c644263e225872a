"""Brings an array from one volume's voxels to another's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

import nibabel as nib
import numpy as np
import numpy.typing as npt
from nibabel.processing import resample_from_to

from napari_diffseg.imaging.volume import same_grid

if TYPE_CHECKING:
    from napari_diffseg.imaging.volume import Volume

NEAREST: Final = 0
LINEAR: Final = 1


def regrid(array: npt.NDArray[Any], source: Volume, target: Volume, *, order: Literal[0, 1]) -> npt.NDArray[Any]:
    """An array on the voxels of `source` as it is on those of `target`.

    Parameters
    ----------
    array : ndarray, (X, Y, Z) of `source`, uint8 or float32
        In its voxel order.
    source, target : Volume
        The two grids; where they are the same, the array itself is given back.
    order : 0 or 1
        `NEAREST` for labels, `LINEAR` for probabilities. 0 outside `source`.

    Returns
    -------
    ndarray, (X, Y, Z) of `target`, of the same type
    """
    if same_grid(source, target):
        return array
    image = nib.Nifti1Image(array, source.affine)  # type: ignore[no-untyped-call]
    there = (target.shape, target.affine)
    moved = resample_from_to(image, there, order=order)  # type: ignore[no-untyped-call]
    return np.asarray(moved.dataobj).astype(array.dtype, copy=False)
