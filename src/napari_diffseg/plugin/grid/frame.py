"""How one voxel grid lies on napari's screen, and the exact way back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from napari_diffseg.appearance import AXIS_LABELS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_diffseg.imaging.volume import Volume

METADATA_KEY: Final = "napari_diffseg"
"""Where a layer keeps its `Frame`."""

RESULT_KEY: Final = "napari_diffseg_result"
"""Metadata key of a layer that shows results; such a layer is never offered as an input."""

_OBLIQUE_DEGREES: Final = 0.1


@dataclass(frozen=True, eq=False)
class Frame:
    """The grid of a volume, and how its voxels are shown in a layer.

    napari slices along data axes and cannot draw an affine that permutes them, so the array is shown through a view
    whose axes are (slices, rows, columns) and the layer gets a scale and a translation only. The true affine stays
    here. All three planes of such a layer are upright, with the patient's left on the right.

    Attributes
    ----------
    volume : Volume
        The source: its affine, header and notes describe the grid.
    axes : (int, int, int)
        Source axis that display axis 0, 1, 2 shows.
    flips : (bool, bool, bool)
        Whether display axis 0, 1, 2 runs against its source axis.
    world : ndarray, (4, 4), float64
        Display voxel to napari's world, in `units`.
    axis_labels, units : (str, str, str)
        Names and units of napari's world axes.
    """

    volume: Volume
    axes: tuple[int, int, int]
    flips: tuple[bool, bool, bool]
    world: npt.NDArray[np.float64]
    axis_labels: tuple[str, ...] = AXIS_LABELS
    units: tuple[str, ...] = ("mm", "mm", "mm")

    @classmethod
    def of_volume(cls, volume: Volume) -> Frame:
        """The frame in which a volume is shown upright; oblique grids are shown along their nearest axes."""
        from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

        turn = ornt_transform(io_orientation(volume.affine), axcodes2ornt(("L", "P", "S")))
        source_axis = {int(lps): (axis, flip < 0) for axis, (lps, flip) in enumerate(turn)}
        axes, flips = zip(*(source_axis[lps] for lps in (2, 1, 0)), strict=True)
        return cls(volume, axes, flips, _upright_world(volume, axes, flips))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along the three display axes."""
        x, y, z = (self.volume.shape[axis] for axis in self.axes)
        return x, y, z

    @property
    def is_oblique(self) -> bool:
        """Whether the patient's axes and the screen's differ by more than a tenth of a degree."""
        directions = self.volume.affine[:3, :3] / np.linalg.norm(self.volume.affine[:3, :3], axis=0)
        return bool(np.any(np.abs(directions).max(axis=0) < np.cos(np.radians(_OBLIQUE_DEGREES))))

    def to_display(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """A view, without a copy, of an array in source order (..., X, Y, Z) as it is shown (..., 3 display axes)."""
        lead = array.ndim - 3
        view = array.transpose(*range(lead), *(lead + axis for axis in self.axes))
        return self._flipped(view)

    def to_source(self, data: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """A view, without a copy, of layer data (..., 3 display axes) in source order (..., X, Y, Z)."""
        lead = data.ndim - 3
        view = self._flipped(data)
        return view.transpose(*range(lead), *(lead + int(i) for i in np.argsort(self.axes)))

    def _flipped(self, data: npt.NDArray[Any]) -> npt.NDArray[Any]:
        lead = data.ndim - 3
        flipped = tuple(lead + axis for axis, flip in enumerate(self.flips) if flip)
        return np.flip(data, flipped)

    def source_index(self, display_index: Sequence[float], source_axis: int) -> int:
        """The source index along one axis of the voxel nearest to a position in display voxels, within the volume."""
        axis = self.axes.index(source_axis)
        n = self.shape[axis]
        index = min(max(round(float(display_index[axis])), 0), n - 1)
        return n - 1 - index if self.flips[axis] else index

    def slab_offset(self, source_axis: int, source_index: int) -> tuple[int, int, int]:
        """Where, in display voxels, the slab of one source slice begins."""
        axis = self.axes.index(source_axis)
        index = self.shape[axis] - 1 - source_index if self.flips[axis] else source_index
        offset = [0, 0, 0]
        offset[axis] = index
        return offset[0], offset[1], offset[2]

    def placement(self, offset: Sequence[float] = (0, 0, 0)) -> dict[str, Any]:
        """What puts a layer of this grid at its place in napari.

        Parameters
        ----------
        offset : (float, float, float)
            Display voxel at which the layer's data begin.

        Returns
        -------
        dict
            `scale` and `translate`, and `affine` where those two do not suffice.
        """
        world = self.world.copy()
        world[:3, 3] = (world @ [*offset, 1.0])[:3]
        scale = np.diag(world)[:3]
        if np.array_equal(world[:3, :3], np.diag(scale)):
            return {"scale": tuple(scale), "translate": tuple(world[:3, 3]), "affine": np.eye(4)}
        return {"scale": (1.0, 1.0, 1.0), "translate": (0.0, 0.0, 0.0), "affine": world}

    def layer_attributes(self) -> dict[str, Any]:
        """Everything a 3-D layer of this grid is created with, besides its data, name and colours."""
        return {
            **self.placement(),
            "units": self.units,
            "axis_labels": self.axis_labels,
            "metadata": {METADATA_KEY: self},
        }


def with_member_axis(attributes: dict[str, Any]) -> dict[str, Any]:
    """The attributes of a 3-D layer for one with the members as an axis in front."""
    affine = np.eye(5)
    affine[1:, 1:] = attributes["affine"]
    return {
        **attributes,
        "scale": (1.0, *attributes["scale"]),
        "translate": (0.0, *attributes["translate"]),
        "affine": affine,
        "units": ("pixel", *attributes["units"]),
        "axis_labels": ("member", *attributes["axis_labels"]),
    }


def _upright_world(volume: Volume, axes: tuple[int, ...], flips: tuple[bool, ...]) -> npt.NDArray[np.float64]:
    """Display voxel to (I, P, L) mm: spacings on the diagonal, and where the first display voxel's centre lies."""
    spacing = [volume.spacing_mm[axis] for axis in axes]
    first = np.zeros(4)
    first[3] = 1.0
    for axis, flip in zip(axes, flips, strict=True):
        first[axis] = volume.shape[axis] - 1 if flip else 0
    right, anterior, superior, _ = volume.affine @ first
    world = np.diag([-spacing[0], spacing[1], spacing[2], 1.0])
    world[:3, 3] = (-superior, -anterior, -right)
    return world
