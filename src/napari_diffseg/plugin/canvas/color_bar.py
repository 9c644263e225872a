"""The colour bar of a map, which says what its colours mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari.layers import Layer


def show_bar(layer: Layer) -> None:
    """Draw a map's colours, their values and its name beside the image, while the layer is visible."""
    show_colors(layer)
    show_name(layer)


def show_colors(layer: Layer) -> None:
    """Draw a map's colours and their values."""
    layer.colorbar.visible = True


def show_name(layer: Layer) -> None:
    """Draw a map's name where its colours are, so that it says what they are of."""
    layer.name_overlay.position = layer.colorbar.position
    layer.name_overlay.visible = True


def show_bar_when_seen(layer: Layer) -> None:
    """Give a map its colour bar when it is first brought into sight, or now if it is there.

    napari builds a bar's lines and letters in about a tenth of a second, whether or not anybody can see them.
    """
    if layer.visible:
        show_bar(layer)
        return

    def seen(_event: object) -> None:
        if layer.visible:
            layer.events.visible.disconnect(seen)
            show_bar(layer)

    layer.events.visible.connect(seen)
