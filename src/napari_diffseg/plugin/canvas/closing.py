"""Notices that a docked widget, or the window it is in, is gone for good."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, QObject, Signal

if TYPE_CHECKING:
    from collections.abc import Callable

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
        self._window: Callable[[], QWidget | None] = _nothing  # a weak reference: a window's end waits for nobody
        self._is_asked = self._has_come = False
        self._is_dock_alone = False
        widget.installEventFilter(self)

    @property
    def window_that_stays(self) -> QWidget | None:
        """The window, where the dock alone was closed."""
        return self._window() if self._is_dock_alone else None

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Look at what happens to the widget and to its window; take nothing away."""
        if event is not None and not self._has_come:
            if watched is self._widget and event.type() in (QEvent.Type.ParentChange, QEvent.Type.Show):
                self._follow()
            elif watched is not None and watched is self._window():
                self._look_at_window(event)
        return False

    def _follow(self) -> None:
        if self._widget.parentWidget() is None:
            if self._window is not _nothing:
                self._is_dock_alone = True
                self._end()
            return
        window = self._widget  # not its window(): a floating dock is one by itself, below the viewer's
        while (above := window.parentWidget()) is not None:
            window = above
        before = self._window()
        if window is not before:
            if before is not None:
                before.removeEventFilter(self)
            self._window = weakref.ref(window)
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


def _nothing() -> None:
    """No window yet."""
