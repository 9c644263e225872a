"""Adds a layer without taking the selection away from the one that the user is working with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer


def add_quietly(viewer: ViewerModel, layer: Layer) -> None:
    """Add a layer to a viewer and leave the selection as it was; where nothing was selected, napari selects it."""
    selection = viewer.layers.selection
    selected, active = set(selection), bare(selection.active)
    viewer.add_layer(layer)
    if selected:
        selection.clear()
        selection.update(selected)
        selection.active = active


def is_there(viewer: ViewerModel, layer: Layer | None) -> bool:
    """Whether a layer is in the viewer: the user may have removed it."""
    return any(bare(other) is layer for other in viewer.layers)


def bare(layer: Any) -> Layer:
    """The layer itself: the viewer that napari hands to plugins gives out proxies, which are never identical."""
    inner: Layer = getattr(layer, "__wrapped__", layer)
    return inner
