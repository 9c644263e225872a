"""The part of every slice that a run is about, where it is not about all of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from napari_diffseg.events import Window

    D = TypeVar("D", bound=np.generic)


def confine(planes: npt.NDArray[D], window: Window | None) -> npt.NDArray[D]:
    """Planes (..., U, V) of a source, zero outside the window; the very array where there is none."""
    if window is None:
        return planes
    inside = within(window)
    kept = np.zeros_like(planes)
    kept[..., *inside] = planes[..., *inside]
    return kept


def within(window: Window) -> tuple[slice, slice]:
    """The window as an index of the last two axes."""
    (top, bottom), (left, right) = window
    return slice(top, bottom), slice(left, right)


def describe_scope(slices: str | None, window: Window | None) -> tuple[str, ...]:
    """What a run leaves out because it was asked to, in a sentence; nothing where it leaves nothing out."""
    if window is not None:
        (top, bottom), (left, right) = window
        part = f" within {top}:{bottom}, {left}:{right} of their other two axes"
    else:
        part = ""
    if not part and slices is None:
        return ()
    return (f"Only slices {slices or 'all'}{part} are asked for: masks are empty elsewhere.",)


def inside_of(window: Window | None, shape: tuple[int, int, int], slice_axis: int) -> npt.NDArray[Any]:
    """Which voxels the window holds in every slice, as booleans that broadcast to the volume."""
    plane = [n for axis, n in enumerate(shape) if axis != slice_axis]
    return np.expand_dims(confine(np.ones(plane, np.bool_), window), slice_axis)
