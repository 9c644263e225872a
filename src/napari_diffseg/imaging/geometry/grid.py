"""The invertible way from a volume's voxels to a network's pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt
from nibabel.orientations import axcodes2ornt, io_orientation

from napari_diffseg.errors import BadImage
from napari_diffseg.imaging.geometry.resample_plane import AxisMap, resample_plane

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_diffseg.imaging.intensity import Scale
    from napari_diffseg.imaging.modes import CentreName, FitName


@dataclass(frozen=True, eq=False)
class Grid:
    """How slices of a volume become pixels of the model, and how pixels become voxels again.

    A slice is a plane of voxels of the source's array: its axes are permuted and reversed, then cropped or padded, and
    resampled within the plane if the model has a spacing of its own. Nothing is interpolated between slices, and no
    slice depends on another. Without resampling, voxels inside the field of view come back bit for bit.

    Attributes
    ----------
    source_shape : (int, int, int)
        The volume's shape.
    row_axis, column_axis, slice_axis : int
        Source axis along which the model's rows, columns and slices run.
    rows, columns : AxisMap
        From pixels to voxels along the plane's axes.
    """

    source_shape: tuple[int, int, int]
    row_axis: int
    column_axis: int
    slice_axis: int
    rows: AxisMap
    columns: AxisMap

    @classmethod
    def plan(
        cls,
        shape: tuple[int, int, int],
        affine: npt.NDArray[np.float64],
        *,
        axis_codes: Sequence[str] = ("P", "L", "S"),
        size: tuple[int, int],
        spacing_mm: float | None = None,
        brain: npt.NDArray[np.bool_] | None = None,
        centre: CentreName = "image",
        fit: FitName = "crop",
    ) -> Self:
        """The grid that shows a volume as the model expects it.

        Parameters
        ----------
        shape : (int, int, int)
            The volume's shape.
        affine : ndarray, (4, 4)
            Voxel indices to RAS+ mm; of an oblique one the nearest axes are taken.
        axis_codes : (str, str, str)
            Directions in which the model's rows, columns and slices increase, such as ("P", "L", "S").
        size : (int, int)
            Rows and columns of the model, in pixels.
        spacing_mm : float, optional
            In-plane size of the model's pixels; none: the volume's own, without resampling.
        brain : ndarray, (X, Y, Z), bool, optional
            Where the brain is; for `centre="brain"`.
        centre : {"image", "brain"}
            What the middle of the model's pixels shows: the middle of the volume, or of the brain's bounding box.
        fit : {"crop", "stretch"}
            "stretch": the whole slice fills the model's pixels, edge to edge, whatever its shape; spacing and centre
            have no say then.

        Raises
        ------
        BadImage
            If the affine does not say along which axis the slices run.
        ValueError
            If `centre` is "brain" and `brain` is not given.
        """
        axes, flips = _nearest_axes(np.asarray(affine, dtype=np.float64), axis_codes)
        if centre == "brain" and brain is None:
            raise ValueError("centre='brain' needs to be told where the brain is")
        maps = []
        for axis, flip, count in zip(axes, flips, size, strict=False):
            n = int(shape[axis])
            own_mm = float(np.linalg.norm(affine[:3, axis]))
            box = _extent(brain, axis) if centre == "brain" and brain is not None else (0, n - 1)
            step = 1.0 if spacing_mm is None else spacing_mm / own_mm
            if fit == "stretch":
                step, box = n / count, (0, n - 1)
            maps.append(AxisMap.centred(n, count, step=step, between=box, flip=flip))
        source_shape = (int(shape[0]), int(shape[1]), int(shape[2]))
        return cls(source_shape, axes[0], axes[1], axes[2], maps[0], maps[1])

    @property
    def n_slices(self) -> int:
        """Slices of the source."""
        return self.source_shape[self.slice_axis]

    def to_model(
        self,
        array: npt.NDArray[Any],
        *,
        slices: Sequence[int] | None = None,
        scale: Scale | None = None,
        within: npt.NDArray[np.bool_] | None = None,
    ) -> npt.NDArray[np.float32]:
        """Slices of a volume as the model sees them.

        Parameters
        ----------
        array : ndarray, (X, Y, Z)
            In the source's voxel order.
        slices : sequence of int, optional
            Source indices along `slice_axis`, in any order; all by default.
        scale : callable, optional
            What each slice's intensities become first, as `intensity.scale_of` gives it.
        within : ndarray, (X, Y, Z), bool, optional
            Where they are kept; 0 elsewhere.

        Returns
        -------
        ndarray, (S, rows, columns), float32
            0 outside the source.
        """
        if array.shape != self.source_shape:
            raise ValueError(f"array of shape {array.shape} is not on a grid of {self.source_shape}")
        planes = array.transpose(self.slice_axis, self.row_axis, self.column_axis)
        kept = None if within is None else within.transpose(self.slice_axis, self.row_axis, self.column_axis)
        chosen = range(self.n_slices) if slices is None else slices
        out = np.zeros((len(chosen), self.rows.pixels, self.columns.pixels), np.float32)
        for plane, index in zip(out, chosen, strict=True):
            values = planes[index] if scale is None else scale(planes[index])
            if kept is not None:
                values = np.where(kept[index], values, 0)
            resample_plane(values, plane, self.rows, self.columns)
        return out

    def to_source(self, stack: npt.NDArray[Any], *, fill: float = 0.0) -> npt.NDArray[np.float32]:
        """The model's pixels on the source's voxels.

        Parameters
        ----------
        stack : ndarray, (S, rows, columns)
            Any slices: where a slice came from makes no difference.
        fill : float
            The value outside the model's field of view.

        Returns
        -------
        ndarray, (S, U, V), float32
            U and V are the source's two axes other than `slice_axis`, in their order.
        """
        if stack.shape[1:] != (self.rows.pixels, self.columns.pixels):
            raise ValueError(
                f"stack of shape {stack.shape} is not of {self.rows.pixels} x {self.columns.pixels} pixels"
            )
        shape = (len(stack), self.rows.voxels, self.columns.voxels)
        out = np.full(shape, fill, np.float32)
        for plane, pixels in zip(out, stack, strict=True):
            resample_plane(pixels, plane, self.rows.inverse, self.columns.inverse)
        return out if self.row_axis < self.column_axis else np.ascontiguousarray(out.transpose(0, 2, 1))

    def outside(self, array: npt.NDArray[Any]) -> float:
        """Which part, 0 to 1, of an array's non-zero voxels lies outside the model's field of view."""
        planes = (array != 0).transpose(self.slice_axis, self.row_axis, self.column_axis)
        counts = planes.sum(axis=0)
        total = int(counts.sum())
        inside = int(counts[np.ix_(self.rows.covered, self.columns.covered)].sum())
        return (total - inside) / total if total else 0.0


def slice_axis_of(affine: npt.NDArray[np.float64], axis_codes: Sequence[str]) -> int:
    """The source axis that slices run along, which is the one nearest to the third of a recipe's directions.

    Raises
    ------
    BadImage
        If the affine leaves an axis without direction.
    """
    axes, _ = _nearest_axes(np.asarray(affine, dtype=np.float64), axis_codes)
    return axes[2]


def _nearest_axes(
    affine: npt.NDArray[np.float64], axis_codes: Sequence[str]
) -> tuple[tuple[int, int, int], tuple[bool, bool, bool]]:
    """Source axis nearest to each wanted direction, and whether it runs the other way."""
    orientation = np.asarray(io_orientation(affine))  # type: ignore[no-untyped-call]
    if not np.isfinite(orientation).all():
        raise BadImage("An image's orientation leaves one of its axes without direction: repair its header.")
    wanted = np.asarray(axcodes2ornt(tuple(axis_codes)))  # type: ignore[no-untyped-call]
    found = [int(np.flatnonzero(orientation[:, 0] == ras)[0]) for ras, _ in wanted]
    flips = [bool(orientation[axis, 1] != sign) for axis, (_, sign) in zip(found, wanted, strict=True)]
    return (found[0], found[1], found[2]), (flips[0], flips[1], flips[2])


def _extent(brain: npt.NDArray[np.bool_], axis: int) -> tuple[int, int]:
    """First and last index along an axis at which there is brain; the whole axis where there is none."""
    others = tuple(a for a in range(3) if a != axis)
    hit = np.flatnonzero(brain.any(axis=others))
    return (int(hit[0]), int(hit[-1])) if hit.size else (0, brain.shape[axis] - 1)
