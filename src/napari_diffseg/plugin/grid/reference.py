"""A layer that somebody drew, as a mask on the voxels of a run."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_diffseg.errors import GridMismatch
from napari_diffseg.imaging.volume import describe_grid, same_grid
from napari_diffseg.plugin.grid.frame import METADATA_KEY
from napari_diffseg.plugin.grid.layer_volume import frame_of_layer, matrix_of

if TYPE_CHECKING:
    from napari.layers import Layer

    from napari_diffseg.imaging.volume import Volume
    from napari_diffseg.plugin.grid.frame import Frame


def on_grid_of(frame: Frame, layer: Layer) -> npt.NDArray[Any]:
    """The voxels of a layer in the order of a run's source, as far as their centres are the same.

    A layer that our reader opened lies where its file says, any other where the screen shows it. The axes of one that
    napari made anew run otherwise through the same voxels: they are turned, never resampled.

    Parameters
    ----------
    frame : Frame
        The grid of the run, and how it lies on the screen.
    layer : Layer
        Opened from a file, or drawn.

    Returns
    -------
    ndarray, (X, Y, Z)
        A view of the layer's data where that is possible.

    Raises
    ------
    BadImage
        If the layer is no three-dimensional array of numbers.
    GridMismatch
        If its voxels are not the source's.
    """
    source = frame.volume
    volume = frame_of_layer(layer).volume
    if METADATA_KEY not in layer.metadata:
        volume = replace(volume, affine=_ras_from_world(frame) @ matrix_of(layer))
    turned = _turned(volume, source)
    if not same_grid(turned, source):
        elsewhere = ", elsewhere in space" if describe_grid(volume) == describe_grid(source) else ""
        raise GridMismatch(
            f"Layer {layer.name} is {describe_grid(volume)}{elsewhere}, but the run is {describe_grid(source)}: "
            "choose a mask on the grid of the images that were segmented."
        )
    return turned.data


def _ras_from_world(frame: Frame) -> npt.NDArray[np.float64]:
    """Points of napari's world, where a run is shown, to RAS+ mm, (4, 4)."""
    to_source = np.zeros((4, 4))
    to_source[3, 3] = 1.0
    for d, (axis, flip) in enumerate(zip(frame.axes, frame.flips, strict=True)):
        to_source[axis, d] = -1.0 if flip else 1.0
        to_source[axis, 3] = frame.shape[d] - 1 if flip else 0.0
    return np.asarray(frame.volume.affine @ to_source @ np.linalg.inv(frame.world))


def _turned(volume: Volume, source: Volume) -> Volume:
    """The volume with its axes in the order and direction nearest to the source's."""
    from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation

    turn = io_orientation(np.linalg.solve(source.affine, volume.affine))
    if np.isnan(turn).any():
        return volume
    affine = volume.affine @ inv_ornt_aff(turn, volume.shape)
    return replace(volume, data=apply_orientation(volume.data, turn), affine=affine, path=None)
