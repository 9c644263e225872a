"""Masks whose files run along other directions than the prediction's: the same voxels in another order."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation

if TYPE_CHECKING:
    from napari_diffseg.imaging.volume import Volume


def turned_like(volume: Volume, grid: Volume) -> Volume:
    """A volume with its axes in the order and directions that are nearest to a grid's; no value is made or lost.

    Whether its voxels then lie on those of the grid is another question, see `same_grid`.
    """
    between = np.linalg.solve(grid.affine, volume.affine)
    way = io_orientation(between)  # type: ignore[no-untyped-call]
    if np.isnan(way).any():
        return volume
    data = np.asarray(apply_orientation(volume.data, way))  # type: ignore[no-untyped-call]
    back = inv_ornt_aff(way, volume.shape)  # type: ignore[no-untyped-call]
    return replace(volume, data=data, affine=volume.affine @ back)
