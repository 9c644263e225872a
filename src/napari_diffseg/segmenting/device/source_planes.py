"""A network's pixels on the source's voxels, many slices at once, where they were computed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from napari_diffseg.imaging.geometry.resample_plane import blur_sigma

if TYPE_CHECKING:
    from napari_diffseg.imaging.geometry.grid import Grid
    from napari_diffseg.imaging.geometry.resample_plane import AxisMap

_CHUNK_BYTES: Final = {"cpu": 2**20, "cuda": 2**26}
"""Of float64 numbers at once, by kind of device: on a processor they stay in its cache."""
_TRUNCATE: Final = 4.0
"""Standard deviations after which scipy's Gaussian ends."""


class SourcePlanes:
    """What `Grid.to_source` does to slices one by one on the host, in one go on a device, with the same numbers.

    The same sums in the same order, in float64 as scipy takes them, rounded to float32 at the same places: so the
    result is the same to the bit where the device computes as IEEE 754 says, and contracts no products.

    Parameters
    ----------
    grid : Grid
        Of the case.
    device : torch.device
        One that has float64.
    """

    def __init__(self, grid: Grid, device: torch.device) -> None:
        rows, columns = grid.rows.inverse, grid.columns.inverse
        self._exact = rows.is_exact and columns.is_exact
        self._rows, self._columns = (_Axis.of(axis, device) for axis in (rows, columns))
        self._swapped = grid.row_axis > grid.column_axis
        self._at_once = max(1, _CHUNK_BYTES[device.type] // (8 * grid.rows.voxels * grid.columns.voxels))

    def __call__(self, stack: torch.Tensor, *, fill: float) -> torch.Tensor:
        """From pixels (S, rows, columns), float32, to voxels (S, U, V), float32, as `Grid.to_source`."""
        rows, columns = self._rows, self._columns
        out = stack.new_full((len(stack), rows.count, columns.count), fill)
        for start in range(0, len(stack), self._at_once):
            part = slice(start, start + self._at_once)
            out[part, rows.inside, columns.inside] = self._resampled(stack[part])
        return out.transpose(1, 2).contiguous() if self._swapped else out

    def _resampled(self, planes: torch.Tensor) -> torch.Tensor:
        rows, columns = self._rows, self._columns
        if self._exact:
            return planes[:, rows.low][:, :, columns.low]
        planes = _blurred(_blurred(planes, rows.kernel, axis=1), columns.kernel, axis=2).double()
        upper = planes[:, rows.low] * rows.at_low[:, None]
        lower = planes[:, rows.high] * rows.at_high[:, None]
        values = upper[:, :, columns.low] * columns.at_low
        values += upper[:, :, columns.high] * columns.at_high
        values += lower[:, :, columns.low] * columns.at_low
        values += lower[:, :, columns.high] * columns.at_high
        return values.float()


@dataclass(frozen=True, slots=True, eq=False)
class _Axis:
    """One axis of the way back: which voxels lie within the pixels, and between which pixels each of them lies.

    Attributes
    ----------
    count : int
        Voxels.
    inside : slice
        Those that lie in a pixel, N of them.
    low, high : Tensor, (N,), int64
        The pixels before and after each.
    at_low, at_high : Tensor, (N,), float64
        How much each of the two counts.
    kernel : list of float
        Weights by which pixels are smoothed along the axis first; empty for none.
    """

    count: int
    inside: slice
    low: torch.Tensor
    high: torch.Tensor
    at_low: torch.Tensor
    at_high: torch.Tensor
    kernel: list[float]

    @classmethod
    def of(cls, axis: AxisMap, device: torch.device) -> _Axis:
        voxels = np.flatnonzero(axis.inside)
        # As scipy's affine_transform works them out, from offset and step.
        places = (voxels + axis.start / axis.step) * axis.step
        low = np.floor(places)
        at_low = 1.0 - (places - low)
        if axis.is_exact:
            low = axis.start + axis.step * voxels
        ends = (np.clip(n, 0, axis.voxels - 1) for n in (low, low + 1))
        before, after = (torch.from_numpy(n.astype(np.int64)).to(device) for n in ends)
        of_low, of_high = (torch.from_numpy(w).to(device) for w in (at_low, 1.0 - at_low))
        inside = slice(int(voxels[0]), int(voxels[-1]) + 1) if voxels.size else slice(0, 0)
        kernel = _gaussian(blur_sigma(abs(axis.step)))
        return cls(axis.pixels, inside, before, after, of_low, of_high, kernel)


def _gaussian(sigma: float) -> list[float]:
    """Weights of a Gaussian from -radius to radius, as scipy's `gaussian_filter1d` takes them; empty for sigma 0."""
    if not sigma:
        return []
    x = np.arange(-int(_TRUNCATE * sigma + 0.5), int(_TRUNCATE * sigma + 0.5) + 1)
    weights = np.exp(-0.5 / (sigma * sigma) * x**2)
    return [float(w) for w in weights / weights.sum()]


def _blurred(planes: torch.Tensor, kernel: list[float], *, axis: int) -> torch.Tensor:
    """Planes, float32, smoothed along an axis; beyond its ends the last pixels go on."""
    if not kernel:
        return planes
    radius, length = len(kernel) // 2, planes.shape[axis]
    wide = planes.double()
    beyond = torch.arange(-radius, length + radius, device=planes.device).clamp(0, length - 1)
    wide = wide.index_select(axis, beyond)
    out = wide.narrow(axis, radius, length) * kernel[radius]
    for n in range(radius):
        both = wide.narrow(axis, n, length) + wide.narrow(axis, 2 * radius - n, length)
        out += both * kernel[n]
    return out.float()


def has_float64(device: torch.device) -> bool:
    """Whether the device computes in float64, as Apple's do not."""
    return device.type in ("cpu", "cuda")
