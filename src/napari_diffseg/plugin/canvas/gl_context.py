"""Keeps a removed layer from taking another one's graphics memory with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from napari_diffseg.plugin.canvas.add_layer import bare

if TYPE_CHECKING:
    from napari.components import ViewerModel

_guarded: WeakSet[Any] = WeakSet()


def delete_in_canvas(viewer: ViewerModel) -> None:
    """Let whatever a viewer removes be deleted in its canvas's OpenGL context.

    VisPy deletes textures and buffers at once, in the context that happens to be current. After a docked widget was
    painted that is Qt's own, which shares its names with the canvas's; the canvas then goes on to draw from what was
    deleted, and the process ends with a segmentation fault. A viewer without a window needs nothing.
    """
    inner: Any = bare(viewer)
    canvas = canvas_of(viewer)
    if canvas is None or inner in _guarded:
        return
    _guarded.add(inner)
    inner.layers.events.removing.connect(lambda _event: canvas.set_current())


def canvas_of(viewer: ViewerModel) -> Any:
    """VisPy's canvas of a viewer, None where it has no window; napari has no public name for it."""
    qt_viewer = getattr(getattr(bare(viewer), "window", None), "_qt_viewer", None)
    return getattr(getattr(qt_viewer, "canvas", None), "_scene_canvas", None)
