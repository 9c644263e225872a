"""Ties what explores a result together: the cursor, the keys, and the boxes that show what they find."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_diffseg.plugin.keys import Keys
from napari_diffseg.plugin.pointer import Pointer

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_diffseg.plugin.result_box import ResultBox
    from napari_diffseg.plugin.result_layers import ResultLayers


class Exploring:
    """Everything that reads the result on the screen and changes nothing of the run.

    Parameters
    ----------
    viewer : ViewerModel or Viewer
        Where the result is shown.
    results : ResultLayers
        The result.
    result_box : ResultBox
        Shows the votes under the cursor.
    """

    def __init__(self, viewer: ViewerModel, results: ResultLayers, result_box: ResultBox) -> None:
        self.pointer = Pointer(viewer, results)
        self.pointer.told.connect(result_box.show_cursor)
        self.keys = Keys(viewer, {"U": lambda: toggle_uncertainty(results)})

    def close(self) -> None:
        """Take callbacks and keys back from the viewer."""
        self.pointer.close()
        self.keys.close()


def toggle_uncertainty(results: ResultLayers) -> None:
    """Hide the uncertainty on the screen, or bring it back."""
    view = results.view
    if view is None:
        return
    shown = any(layer.visible for layer in view.uncertainty)
    for layer in view.uncertainty:
        layer.visible = not shown
