"""A sample that is drawn in another thread, and its layers on their way into the window that asked for it."""

from __future__ import annotations

import threading
import weakref
from functools import partial
from typing import TYPE_CHECKING, Final

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QWidget

from napari_diffseg.plugin.background.job import run_guarded
from napari_diffseg.plugin.background.latest_only import raise_if
from napari_diffseg.plugin.background.mailbox import Ended, Ending, LayerReady, Mailbox
from napari_diffseg.plugin.background.worker import launch
from napari_diffseg.plugin.canvas.closing import Closing
from napari_diffseg.plugin.canvas.gl_context import canvas_of
from napari_diffseg.plugin.canvas.painting import Painting
from napari_diffseg.plugin.session.jobs import bring

if TYPE_CHECKING:
    from collections.abc import Callable

    import napari
    from napari.layers import Layer

    from napari_diffseg.plugin.grid.layer_data import LayerData

_LOOK_MS: Final = 30
"""Between two looks, so that a layer that was added is painted before the next comes."""


class Drawing(QWidget):
    """Draws, tells the user so, adds a layer in each turn of the event loop, and goes.

    It is in the window, though never seen, because it ends with it.

    Parameters
    ----------
    viewer : Viewer
        Where the layers go; it has a window.
    draw : callable
        Makes the layers, in another thread.
    """

    def __init__(self, viewer: napari.viewer.Viewer, draw: Callable[[], list[LayerData]]) -> None:
        super().__init__()
        self._viewer = weakref.ref(viewer)  # which its window keeps alive
        self._mailbox, self._stop = Mailbox(), threading.Event()
        self._painting = Painting(viewer, self)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._look)
        self._closing = Closing(self)
        self._closing.came.connect(self._end)
        self.setParent(canvas_of(viewer).native.window())
        self.hide()  # else it would come into sight with a window that has not been shown yet
        launch(partial(run_guarded, _job(draw), self._mailbox, self._stop), self._stop)
        self._timer.start(_LOOK_MS)

    def _look(self) -> None:
        for item in self._mailbox.take_items():
            match item:
                case LayerReady(layer):
                    self._add(layer)
                case Ended(ending, text):
                    self._end()
                    if ending is Ending.FAILED:
                        _tell_failure(text)
                    return
        self._timer.start(_LOOK_MS)

    def _add(self, layer: Layer) -> None:
        viewer = self._viewer()
        if viewer is not None:
            with self._painting.put_off():
                viewer.add_layer(layer)

    def _end(self) -> None:
        self._stop.set()
        self._timer.stop()
        self._painting.resume()
        self.deleteLater()


def draw_for(viewer: napari.viewer.Viewer, draw: Callable[[], list[LayerData]]) -> None:
    """Begin to draw a sample for a viewer with a window, and say so; the layers come when they are drawn."""
    from napari.utils.notifications import show_info

    show_info("Drawing the sample…")
    Drawing(viewer, draw)


def _job(draw: Callable[[], list[LayerData]]) -> Callable[[Mailbox, threading.Event], None]:
    def job(mailbox: Mailbox, stop: threading.Event) -> None:
        layers = draw()
        raise_if(stop)
        bring(layers, mailbox)

    return job


def _tell_failure(sentence: str) -> None:
    from napari.utils.notifications import show_error

    show_error(sentence)
