"""The part of every slice that a run is about, where it is not about all of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

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


def describe_scope(
    text: str | None, window: Window | None, *, slices: Sequence[int] = (), sampled: Sequence[int] = ()
) -> tuple[str, ...]:
    """What a run leaves out because it was asked to, in a sentence; nothing where it leaves nothing out.

    Parameters
    ----------
    text : str or None
        The range of slices, as it was asked for.
    window : Window or None
        Of their other two axes.
    slices : sequence of int
        The indices that the range means: a number below 0 counts from the end.
    sampled : sequence of int
        Those of them that hold brain.
    """
    if window is not None:
        (top, bottom), (left, right) = window
        part = f" within {top}:{bottom}, {left}:{right} of their other two axes"
    else:
        part = ""
    if not part and text is None:
        return ()
    from_end = f" ({slices[0]} to {slices[-1]}, counted from the end)" if text and "-" in text and slices else ""
    asked = f"Only slices {text or 'all'}{from_end}{part} are asked for: masks are empty elsewhere."
    return (asked,) if sampled or not slices else (asked, "None of them holds brain: all masks are empty.")


def inside_of(window: Window | None, shape: tuple[int, int, int], slice_axis: int) -> npt.NDArray[Any]:
    """Which voxels the window holds in every slice, as booleans that broadcast to the volume."""
    plane = [n for axis, n in enumerate(shape) if axis != slice_axis]
    return np.expand_dims(confine(np.ones(plane, np.bool_), window), slice_axis)
