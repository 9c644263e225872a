"""A layer, whoever opened it, as a volume on its grid."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_diffseg.errors import BadImage
from napari_diffseg.plugin.grid.frame import METADATA_KEY, Frame

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.layers import Layer

    from napari_diffseg.imaging.volume import Volume

_TO_RAS = {"I": (2, -1), "S": (2, 1), "P": (1, -1), "A": (1, 1), "L": (0, -1), "R": (0, 1)}
_ASSUMED = ("S", "P", "L")


def frame_of_layer(layer: Layer) -> Frame:
    """How the layer's voxels lie in the patient; the frame's volume holds the layer's present data.

    A layer that our reader opened keeps its file's grid exactly. Of any other layer the transform on the screen is
    taken, in mm, with the world axes that its axis labels name, or else superior, posterior and left, and a note says
    so.

    Raises
    ------
    BadImage
        If the layer is not a single three-dimensional array of real numbers.
    """
    _check_array(layer)
    frame = layer.metadata.get(METADATA_KEY)
    if isinstance(frame, Frame) and tuple(layer.data.shape) == frame.shape:
        present = replace(frame, volume=_present_volume(layer, frame))
        world = matrix_of(layer)
        return present if np.allclose(world, frame.world) else _moved(present, world)
    return _foreign_frame(layer)


def is_without_file(layer: Layer) -> bool:
    """Whether a layer is an array of somebody's, so that no file says how it lies in the patient."""
    frame = layer.metadata.get(METADATA_KEY)
    return not (isinstance(frame, Frame) and tuple(layer.data.shape) == frame.shape)


def axes_are_known(layer: Layer) -> bool:
    """Whether the names of a layer's axes say where they run: three of L R A P S I, one for each direction."""
    return {_TO_RAS[code][0] for code in layer.axis_labels if code in _TO_RAS} == {0, 1, 2}


def _check_array(layer: Layer) -> None:
    if getattr(layer, "multiscale", False) or getattr(layer, "rgb", False) or layer.ndim != 3:
        raise BadImage(
            f"Layer {layer.name}: a case needs three-dimensional images of one channel at one scale: "
            "split channels and time points into layers of their own."
        )
    if np.dtype(layer.dtype).kind not in "biuf":
        raise BadImage(f"Layer {layer.name}: values of kind {layer.dtype} are not intensities: open a real image.")


def _moved(frame: Frame, world: np.ndarray) -> Frame:
    """The frame after a user has given its layer another transform: the patient's space moves along."""
    to_ras = _ras_from(frame.axis_labels)
    motion = to_ras @ world @ np.linalg.inv(frame.world) @ np.linalg.inv(to_ras)
    volume = replace(frame.volume, affine=motion @ frame.volume.affine, header=None, path=None)
    return replace(frame, volume=volume, world=world)


def _ras_from(codes: Sequence[str]) -> np.ndarray:
    """World axes named by one of L R A P S I each to RAS+, (4, 4)."""
    matrix = np.zeros((4, 4))
    matrix[3, 3] = 1.0
    for row, code in enumerate(codes):
        axis, sign = _TO_RAS[code]
        matrix[axis, row] = sign
    return matrix


def _present_volume(layer: Layer, frame: Frame) -> Volume:
    """The file's volume while the layer shows its array; without the file's path once the array is another."""
    source = frame.to_source(np.asarray(layer.data))
    held = frame.volume.data
    same = source.__array_interface__["data"][0] == held.__array_interface__["data"][0]
    if same and source.strides == held.strides and source.dtype == held.dtype:
        return frame.volume
    return replace(frame.volume, data=source, path=None)


def _foreign_frame(layer: Layer) -> Frame:
    from napari_diffseg.imaging.volume import Volume

    world = matrix_of(layer)
    codes = tuple(layer.axis_labels)
    known = axes_are_known(layer)
    notes = () if known else (f"layer {layer.name} was not opened from an image file, so its directions are assumed",)
    in_mm = np.diag([*(_mm_per(unit) for unit in layer.units), 1.0])
    affine = _ras_from(codes if known else _ASSUMED) @ in_mm @ world
    volume = Volume(data=np.asarray(layer.data), affine=affine, header=None, path=None, notes=notes)
    units = tuple(str(unit) for unit in layer.units)
    return Frame(volume, (0, 1, 2), (False, False, False), world, codes, units)


def _mm_per(unit: Any) -> float:
    """Millimetres in one of the layer's units; a pixel without a size counts as one."""
    quantity = 1 * unit
    return float(quantity.to("mm").magnitude) if quantity.check("[length]") else 1.0


def matrix_of(layer: Any) -> np.ndarray:
    """The layer's voxel to world transform, (4, 4)."""
    origin = np.asarray(layer.data_to_world((0.0, 0.0, 0.0)))
    world = np.eye(4)
    world[:3, 3] = origin
    for axis, step in enumerate(np.eye(3)):
        world[:3, axis] = np.asarray(layer.data_to_world(tuple(step))) - origin
    return world
