"""One slice's map as a layer at the slice's place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_diffseg.plugin.canvas.add_layer import add_quietly, is_there
from napari_diffseg.plugin.canvas.color_bar import show_bar
from napari_diffseg.plugin.grid.frame import METADATA_KEY, RESULT_KEY

if TYPE_CHECKING:
    import numpy.typing as npt
    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_diffseg.plugin.layers.result_view import ResultView


class SliceMapLayer:
    """A layer that serves all maps of a kind: napari leaks some memory with every layer that is removed.

    Parameters
    ----------
    viewer : ViewerModel or Viewer
        Gets the layer when there is something to show.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._layer: Layer | None = None

    def show(
        self, view: ResultView, slice_index: int, *, plane: npt.NDArray[np.float32], name: str, style: dict[str, Any]
    ) -> None:
        """Show a plane (U, V) of the source, on a slice of a run; made anew only where the user has removed it."""
        axis = view.started.slice_axis
        attributes = {
            **view.frame.layer_attributes(),
            **view.frame.placement(view.frame.slab_offset(axis, slice_index)),
            "metadata": {METADATA_KEY: view.frame, RESULT_KEY: view.prefix},
            "data": view.frame.to_display(np.expand_dims(plane, axis)),
            "name": f"{view.prefix} | {name}",
        }
        if self._layer is None or not is_there(self._viewer, self._layer):
            self._layer = self._make(attributes | style | {"visible": True})
            return
        for key in ("data", "scale", "translate", "affine", "metadata", "name"):
            setattr(self._layer, key, attributes[key])
        self._layer.contrast_limits_range = self._layer.contrast_limits = style["contrast_limits"]
        self._layer.visible = True

    def hide(self) -> None:
        """Take it out of sight."""
        if self._layer is not None:
            self._layer.visible = False

    def _make(self, attributes: dict[str, Any]) -> Layer:
        from napari.layers import Image

        layer = Image(**attributes)
        layer.colorbar.position = "bottom_right"  # beside the result's own bar and name, theirs would leave the canvas
        show_bar(layer)
        add_quietly(self._viewer, layer)
        return layer
