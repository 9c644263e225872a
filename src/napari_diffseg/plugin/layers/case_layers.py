"""The images of a case on their way into the viewer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_diffseg.plugin.canvas.add_layer import bare
from napari_diffseg.plugin.grid.same_case import file_of

if TYPE_CHECKING:
    from pathlib import Path

    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_diffseg.plugin.background.mailbox import LayerReady


class CaseLayers:
    """Adds what is opened, layer by layer, and knows which layers belong together.

    Parameters
    ----------
    viewer : ViewerModel or Viewer
        Where they go.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._came: list[Layer] = []

    def add(self, brought: LayerReady) -> None:
        """Add a layer; where its image is open and that is enough, the open one stands for it."""
        there = _open_one(brought.layer, self._viewer) if brought.unless_open else None
        self._came.append(bare(self._viewer.add_layer(brought.layer)) if there is None else there)

    def take(self) -> list[Layer]:
        """The layers that have come since the last call, those that were open among them."""
        taken, self._came = self._came, []
        return taken


def _open_one(layer: Layer, viewer: ViewerModel) -> Layer | None:
    """The viewer's layer of the same file and name."""
    return next((bare(other) for other in viewer.layers if _identity(other) == _identity(layer)), None)


def _identity(layer: Layer) -> tuple[str, Path | None]:
    return layer.name, file_of(layer)
