"""What napari draws while somebody paints in a Labels layer, built when somebody does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from napari.layers import Layer

_AIDS: Final = ("polygon", "brush_stroke")


def build_when_painting(layer: Layer) -> None:
    """Put off the polygon and the circle that napari builds for every Labels layer, until a tool is taken.

    They take a third of the time in which a layer comes, and some again whenever another layer comes or is hidden. A
    napari without them is left as it is.

    Parameters
    ----------
    layer : Labels
        Not in a viewer yet, with no tool taken.
    """
    overlays = layer._overlays  # noqa: SLF001 (napari gives no other way)
    aids = [overlays[name] for name in _AIDS if name in overlays]

    def taken(_event: object) -> None:
        layer.events.mode.disconnect(taken)
        for aid in aids:
            aid.visible = True

    for aid in aids:
        aid.visible = False
    layer.events.mode.connect(taken)
