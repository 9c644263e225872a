"""Lets the canvas be painted in a turn of its own, so that the window does not stand still for two things at once."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from qtpy.compat import isalive
from qtpy.QtCore import QEvent, QObject, QTimer

from napari_diffseg.plugin.canvas.gl_context import canvas_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari.components import ViewerModel
    from qtpy.QtWidgets import QWidget


class Painting(QObject):
    """Puts off the canvas's painting until the turn of the event loop after the one that changed it.

    napari takes about a tenth of a second to add a layer, and the canvas, where there is no graphics card, as long to
    be painted with it. Qt does the second right after the first, and hears nothing of the user meanwhile.

    The canvas is left out when the window is painted, so what was last seen in it stays. A canvas whose updates are
    disabled would be a hole instead, in the window's own colour, until it is painted the next time.

    Parameters
    ----------
    viewer : ViewerModel or Viewer
        Whose canvas it is; one without a window has none, and nothing is put off.
    parent : QObject
        With which it ends.
    """

    def __init__(self, viewer: ViewerModel, parent: QObject) -> None:
        super().__init__(parent)
        canvas: Any = canvas_of(viewer)
        self._native: QWidget | None = None if canvas is None else canvas.native
        self.is_put_off = False
        """Whether the canvas is not painted now."""
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self.resume)

    @contextmanager
    def put_off(self) -> Iterator[None]:
        """Paint what is changed meanwhile in the turn after this one."""
        if not self.is_put_off and self._native is not None and isalive(self._native):
            self._native.installEventFilter(self)
            self.is_put_off = True
        try:
            yield
        finally:
            self._timer.start(0)

    def resume(self) -> None:
        """Paint at once what was put off, and whatever comes."""
        self._timer.stop()
        if not self.is_put_off:
            return
        self.is_put_off = False
        if self._native is not None and isalive(self._native):
            self._native.removeEventFilter(self)
            self._native.update()

    def eventFilter(self, _watched: QObject | None, event: QEvent | None) -> bool:
        """Keep the canvas from being painted."""
        return self.is_put_off and event is not None and event.type() == QEvent.Type.Paint
