"""The layer that marks what has not been sampled, which would look like no lesion else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_diffseg.ensemble.ensemble import Ensemble
    from napari_diffseg.events import Started

_PERIOD: Final = 8
"""Voxels from one line of the hatching to the next."""


class Unsampled:
    """Hatching on slices that no member has reached, and outside of the scope; in any plane it runs diagonally.

    Slices without brain are zero in every member: they are known, and not marked.

    Parameters
    ----------
    started : Started
        What the run covers.
    ensemble : Ensemble
        Its members.

    Attributes
    ----------
    array : ndarray, (X, Y, Z), uint8
        1 where a line is drawn.
    """

    def __init__(self, started: Started, ensemble: Ensemble) -> None:
        self._started, self._ensemble = started, ensemble
        self.array = np.zeros(started.source_shape, np.uint8)
        self._planes = np.moveaxis(self.array, started.slice_axis, 0)
        u, v = np.ogrid[: self._planes.shape[1], : self._planes.shape[2]]
        self._lines = [((u + v + s) % _PERIOD == 0).astype(np.uint8) for s in range(_PERIOD)]
        self._under_way: int | None = None
        self._open = set(started.sampled)
        for s in range(len(self._planes)):
            self._draw(s)
        self.clear(s for s, count in zip(started.slices, ensemble.counts(), strict=True) if count)

    def clear(self, slices: Iterable[int]) -> set[int]:
        """Members have come on some slices: they are marked no longer; which of them were until now."""
        now = self._open & set(slices)
        self._open -= now
        for s in now:
            self._draw(s)
        return now

    def go_to(self, slice_index: int | None) -> bool:
        """A slice is under way and seen in the live view, which is not hatched over; whether that changes anything."""
        before, self._under_way = self._under_way, slice_index
        if before == slice_index:
            return False
        changed = [s for s in (before, slice_index) if s in self._open]
        for s in changed:
            self._draw(s)
        return bool(changed)

    def _draw(self, s: int) -> None:
        lines, window = self._lines[s % _PERIOD], self._started.window
        if s not in self._started.slices or (s in self._open and s != self._under_way):
            self._planes[s] = lines
        elif window is None:
            self._planes[s] = 0
        else:
            self._planes[s] = lines
            (top, bottom), (left, right) = window
            self._planes[s, top:bottom, left:right] = 0

    @property
    def is_empty(self) -> bool:
        """Whether all of the volume has been sampled."""
        started = self._started
        return not self._open and started.window is None and len(started.slices) == len(self._planes)

    @property
    def words(self) -> str:
        """What is hatched, in words; empty where nothing is."""
        left, outside = len(self._open), len(self._planes) - len(self._started.slices)
        parts = [f"{_slices(left)} to come"] if left else []
        parts += [f"{_slices(outside)} outside the scope"] if outside else []
        parts += ["all outside the drawn box"] if self._started.window is not None else []
        return f"Hatched is what was not sampled: {', '.join(parts)}." if parts else ""


def unsampled_style(name: str) -> dict[str, Any]:
    """How it is drawn: grey lines, clear in between."""
    from napari.utils.colormaps import Colormap

    colors: npt.NDArray[np.float32] = np.array([(0.7, 0.7, 0.8, 0.0), (0.7, 0.7, 0.8, 1.0)], np.float32)
    return {
        "name": name,
        "colormap": Colormap(colors, name="grey lines"),
        "contrast_limits": (0.0, 1.0),
        "blending": "translucent_no_depth",
        "opacity": 0.45,
        "interpolation2d": "nearest",
        "visible": True,
    }


def _slices(count: int) -> str:
    return f"{count} slice{'' if count == 1 else 's'}"
