"""The layer that a box is drawn in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from napari_diffseg.plugin.canvas.add_layer import bare

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Shapes

_NAME: Final = "diffseg | box"
_EDGE_PX: Final = 1


def add_box(viewer: ViewerModel) -> Shapes:
    """Add an empty layer above all others, ready for a rectangle to be drawn with the mouse."""
    like = next((other for other in reversed(viewer.layers) if other.ndim == 3), None)
    names = ("scale", "translate", "affine", "units", "axis_labels")  # else its own step would set the sliders'
    world = {} if like is None else {name: getattr(like, name) for name in names}
    layer: Shapes = bare(viewer.add_shapes(name=_NAME, ndim=3, face_color="transparent", edge_color="yellow", **world))
    layer.current_edge_width = _EDGE_PX
    layer.mode = "add_rectangle"
    viewer.layers.selection.active = layer
    return layer
