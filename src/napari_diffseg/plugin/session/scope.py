"""How much of a case a run is about: all of it, the slice on screen, a range, or a box that was drawn."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final

import numpy as np

from napari_diffseg.errors import BadRequest

if TYPE_CHECKING:
    from napari.layers import Shapes

    from napari_diffseg.events import SegmentRequest
    from napari_diffseg.plugin.grid.frame import Frame

    Box = tuple[slice, slice, slice]


_ROUNDING: Final = 1e-3
"""Voxels by which the way to the world and back may miss a centre."""


class Scope(Enum):
    """What of the case is sampled; the value is what the user reads."""

    VOLUME = "whole volume"
    SLICE = "this slice"
    RANGE = "slices A:B"
    BOX = "drawn box"


def scope_words(slices: str | None, window: str | None) -> str:
    """How much of a case was asked for, in words: `whole volume`, `slice 51`, `slices 58:68`, `box, slices 58:68`.

    Parameters
    ----------
    slices, window : str or None
        As in SegmentRequest.
    """
    if slices is None:
        return "whole volume" if window is None else "box"
    first, _, end = slices.partition(":")
    is_one = first.isdecimal() and end.isdecimal() and int(end) == int(first) + 1
    words = f"slice {first}" if is_one else f"slices {slices}"
    return words if window is None else f"box, {words}"


def scoped(
    request: SegmentRequest, scope: Scope, *, frame: Frame, slice_axis: int, focus: int | None, drawn: Shapes | None
) -> SegmentRequest:
    """The request for that much of a case.

    Parameters
    ----------
    request : SegmentRequest
        Its `slices` are the range of `Scope.RANGE`.
    scope : Scope
        How much.
    frame, slice_axis : Frame, int
        The case's grid, and its axis along which the slices are counted.
    focus : int or None
        The slice on screen; unknown, the slice is the first.
    drawn : Shapes or None
        What the box is drawn in.

    Raises
    ------
    BadRequest
        If there is no box, or it lies beside the images.
    """
    match scope:
        case Scope.VOLUME:
            return request.model_copy(update={"slices": None, "window": None})
        case Scope.SLICE:
            first = focus or 0
            return request.model_copy(update={"slices": f"{first}:{first + 1}", "window": None})
        case Scope.RANGE:
            return request.model_copy(update={"window": None})
        case Scope.BOX:
            spans = [f"{along.start}:{along.stop}" for along in box_of(drawn, frame)]
            slices = spans.pop(slice_axis)
            return request.model_copy(update={"slices": slices, "window": ",".join(spans)})


def box_of(drawn: Shapes | None, frame: Frame) -> Box:
    """The source voxels between the ends of all that is drawn.

    Along an axis in which it is flat, as a rectangle is across its slice, the box goes through the whole image.

    Raises
    ------
    BadRequest
        If nothing is drawn, or it lies beside the image.
    """
    if drawn is None or not len(drawn.data):
        raise BadRequest("Draw a rectangle around what is to be sampled; it goes through all slices, two bound them.")
    corners = np.array([drawn.data_to_world(corner)[-3:] for shape in drawn.data for corner in shape], np.float64)
    missing = 3 - corners.shape[1]  # a layer of two axes lies on every slice
    world = np.hstack([np.zeros((len(corners), missing)), corners, np.ones((len(corners), 1))])
    display = (np.linalg.inv(frame.world) @ world.T)[:3].T
    low, high = display.min(axis=0), display.max(axis=0)
    spans = [_span(low[i], high[i], n, flat=i < missing) for i, n in enumerate(frame.shape)]
    return _in_source(spans, frame)


def _span(low: float, high: float, count: int, *, flat: bool) -> slice:
    """The voxels whose centres lie between two positions, in display voxels; all of them where there is no extent."""
    if flat or high - low < 0.5:
        return slice(0, count)
    first, last = max(int(np.ceil(low - _ROUNDING)), 0), min(int(np.floor(high + _ROUNDING)), count - 1)
    if first > last:
        raise BadRequest("The drawn box holds no voxel of the images: draw it around what is to be sampled.")
    return slice(first, last + 1)


def _in_source(spans: list[slice], frame: Frame) -> Box:
    turned = {
        axis: slice(n - span.stop, n - span.start) if flip else span
        for axis, flip, span, n in zip(frame.axes, frame.flips, spans, frame.shape, strict=True)
    }
    return turned[0], turned[1], turned[2]
