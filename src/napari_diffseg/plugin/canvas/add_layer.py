"""Adds a layer without taking the selection away from the one that the user works with; removes several at once."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from napari.components import ViewerModel
    from napari.layers import Layer


def add_quietly(viewer: ViewerModel, layer: Layer) -> None:
    """Add a layer to a viewer and leave the selection as it was; where nothing was selected, napari selects it.

    napari selects whatever is added. What is taken back at once nobody hears of: a window would lay out the new layer's
    controls, and then those of the layer before.
    """
    selection = viewer.layers.selection
    selected, active = set(selection), bare(selection.active)
    if not selected:
        viewer.add_layer(layer)
        return
    with selection.events.blocker_all():
        viewer.add_layer(layer)
        selection.clear()
        selection.update(selected)
        selection.active = active


def move_below(viewer: ViewerModel, layer: Layer, others: Collection[Layer]) -> None:
    """Move a layer of a viewer right below the lowest of some others, as far as they are in it and below the layer."""
    order = [bare(other) for other in viewer.layers]
    lowest = next((place for place, other in enumerate(order) if any(other is one for one in others)), len(order))
    here = next((place for place, other in enumerate(order) if other is layer), 0)
    if lowest < here:
        viewer.layers.move(here, lowest)


@contextmanager
def removing_together(viewer: ViewerModel) -> Iterator[None]:
    """Remove several layers in one go: after each that goes alone, napari collects garbage, for up to a second."""
    with getattr(viewer.layers, "batched_update", nullcontext)():
        yield


def is_there(viewer: ViewerModel, layer: Layer | None) -> bool:
    """Whether a layer is in the viewer: the user may have removed it."""
    return any(bare(other) is layer for other in viewer.layers)


def bare(layer: Any) -> Layer:
    """The layer itself: the viewer that napari hands to plugins gives out proxies, which are never identical."""
    inner: Layer = getattr(layer, "__wrapped__", layer)
    return inner
