"""The images of a case on their way into the viewer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_diffseg.plugin.adding import bare
from napari_diffseg.plugin.frame import METADATA_KEY, Frame

if TYPE_CHECKING:
    from pathlib import Path

    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_diffseg.plugin.mailbox import Brought


class CaseLayers:
    """Adds what is opened, layer by layer, and knows which layers belong together.

    Parameters
    ----------
    viewer : ViewerModel or Viewer
        Where they go.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._added: list[Layer] = []

    def add(self, brought: Brought) -> None:
        """Add a layer, unless its image is open and that is enough."""
        if not (brought.unless_open and _is_open(brought.layer, self._viewer)):
            self._added.append(bare(self._viewer.add_layer(brought.layer)))

    def take(self) -> list[Layer]:
        """What was added since the last call."""
        taken, self._added = self._added, []
        return taken


def _is_open(layer: Layer, viewer: ViewerModel) -> bool:
    """Whether the viewer has a layer of the same file and name."""
    return _identity(layer) in map(_identity, viewer.layers)


def _identity(layer: Layer) -> tuple[str, Path | None]:
    frame = layer.metadata.get(METADATA_KEY)
    return layer.name, frame.volume.path if isinstance(frame, Frame) else None
