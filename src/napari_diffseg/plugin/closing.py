"""Notices that a docked widget, or the window it is in, is gone for good."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, QObject, Signal

if TYPE_CHECKING:
    from qtpy.QtWidgets import QWidget


class Closing(QObject):
    """Watches a widget; where napari closes its dock, it only takes the parent away.

    A closed window keeps its widgets until Qt's event loop deletes them, and their timers may go off until then. That
    it is asked to close does not mean that it does: the user may answer no.

    Parameters
    ----------
    widget : QWidget
        In no window yet. The watch is its child.
    """

    came = Signal()
    """Once, while the widget's parts are still there."""

    def __init__(self, widget: QWidget) -> None:
        super().__init__(widget)
        self._widget = widget
        self._window: QWidget | None = None
        self._is_asked = self._has_come = False
        widget.installEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Look at what happens to the widget and to its window; take nothing away."""
        if event is not None and not self._has_come:
            if watched is self._widget and event.type() == QEvent.Type.ParentChange:
                self._follow()
            elif watched is self._window:
                self._look_at_window(event)
        return False

    def _follow(self) -> None:
        if self._widget.parentWidget() is None:
            self._end()
            return
        window = self._widget
        while (
            above := window.parentWidget()
        ) is not None:  # a floating dock is a window of its own, below the viewer's
            window = above
        if window is not self._window:
            if self._window is not None:
                self._window.removeEventFilter(self)
            self._window = window
            window.installEventFilter(self)

    def _look_at_window(self, event: QEvent) -> None:
        match event.type():
            case QEvent.Type.Close:
                self._is_asked = True
            case QEvent.Type.WindowActivate | QEvent.Type.Show:
                self._is_asked = False
            case QEvent.Type.Hide if self._is_asked:
                self._end()

    def _end(self) -> None:
        self._has_come = True
        self.came.emit()
