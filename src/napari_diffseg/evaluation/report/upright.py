"""Slices of any grid, turned as one looks at them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from nibabel.orientations import apply_orientation, axcodes2ornt, io_orientation, ornt_transform

from napari_diffseg.appearance import AXIS_LABELS, Convention, direction_of, sides_are_unknown
from napari_diffseg.evaluation.metrics.overlap import bounding_box

if TYPE_CHECKING:
    from napari_diffseg.imaging.volume import Volume


_MARGIN = 8


@dataclass(frozen=True, eq=False)
class Upright:
    """Turns slices of a grid as the panel shows them.

    Rows go down or, on axial slices, to the back, the first row on top. Columns go to the back on sagittal slices, else
    to the patient's left (radiological) or right (neurological).

    Attributes
    ----------
    grid : Volume
        Only its affine and spacing count.
    axis : int
        The source axis that the slices lie across.
    convention : Convention
        On which side the patient's left is.
    """

    grid: Volume
    axis: int
    convention: Convention = Convention.RADIOLOGICAL

    def __call__(self, array: npt.NDArray[Any], index: int) -> npt.NDArray[Any]:
        """Slice `index` of an array (X, Y, Z) on the grid, (rows, columns)."""
        slab = np.take(array, [index], axis=self.axis)
        turned = np.asarray(apply_orientation(slab, self._toward))  # type: ignore[no-untyped-call]
        plane = turned.squeeze(axis=int(self._toward[self.axis, 0]))
        return plane[:, ::-1] if self._is_mirrored else plane

    @property
    def sides(self) -> tuple[str, str]:
        """The patient's sides at the left and the right end of a row, `R` and `L`; empty on sagittal slices.

        A question mark stands beside them where the image's file does not state them.
        """
        if not self._shows_sides:
            return "", ""
        doubt = "?" if sides_are_unknown(self.grid.notes) else ""
        ends = "LR" if self._is_mirrored else "RL"
        return f"{ends[0]}{doubt}", f"{ends[1]}{doubt}"

    @property
    def aspect(self) -> float:
        """Height of a pixel divided by its width."""
        others = [a for a in range(3) if a != self.axis]
        height, width = (s for _, s in sorted((self._toward[a, 0], self.grid.spacing_mm[a]) for a in others))
        return float(height / width)

    @property
    def _shows_sides(self) -> bool:
        return bool(self._toward[self.axis, 0] != AXIS_LABELS.index("L"))

    @property
    def _is_mirrored(self) -> bool:
        return self._shows_sides and direction_of("L", self.convention) == "left"

    @cached_property
    def _toward(self) -> npt.NDArray[np.float64]:
        own: Any = io_orientation(self.grid.affine)  # type: ignore[no-untyped-call]
        return np.asarray(ornt_transform(own, axcodes2ornt(AXIS_LABELS)))  # type: ignore[no-untyped-call]


def frame_of(content: npt.NDArray[np.bool_]) -> tuple[slice, ...]:
    """What is to be seen, with a margin of 8 pixels; all of it where there is nothing."""
    if not content.any():
        return (slice(None), slice(None))
    return tuple(slice(max(s.start - _MARGIN, 0), s.stop + _MARGIN) for s in bounding_box(content))


def unit_intensity(array: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Intensities to [0, 1], the brightest percent of what is not 0 at 1."""
    values = np.maximum(array.astype(np.float32), 0)
    bright = values[values > 0]
    high = float(np.percentile(bright, 99)) if bright.size else 1.0
    return np.clip(values / max(high, 1e-9), 0, 1).astype(np.float32)
