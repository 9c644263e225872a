"""A widget is told when its dock or its window is gone for good, and not when they are only out of sight."""

import pytest
from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QApplication, QDockWidget, QMainWindow, QWidget

from napari_diffseg.plugin.canvas.closing import Closing


class Window(QMainWindow):
    """May refuse to close, as napari's does when the user says no."""

    refuses = False

    def closeEvent(self, event):
        event.setAccepted(not self.refuses)


@pytest.fixture
def window(qtbot, screen):
    made = Window()
    qtbot.addWidget(made)
    return made


@pytest.fixture
def docked(window):
    """As napari does it: the widget gets its dock first, and the dock its window later."""
    widget = QWidget()
    widget.came = []
    widget.closing = Closing(widget)
    widget.closing.came.connect(lambda: widget.came.append(True))
    dock = QDockWidget()
    dock.setWidget(widget)
    window.dock = dock
    window.addDockWidget(window.dockWidgetArea(dock).RightDockWidgetArea, dock)
    window.show()
    QApplication.processEvents()
    return widget


def test_closing_the_window_is_told_at_once_and_once(window, docked):
    window.close()
    assert docked.came == [True]
    window.show()
    window.close()
    assert docked.came == [True]


def test_hiding_and_showing_again_is_no_end(window, docked):
    window.hide()
    window.show()
    window.dock.hide()
    window.dock.show()
    assert docked.came == []


def test_a_window_that_refuses_to_close_is_no_end(window, docked):
    window.refuses = True
    window.close()
    QApplication.sendEvent(window, QEvent(QEvent.Type.WindowActivate))  # after the question that was answered with no
    window.hide()
    assert docked.came == []


def test_a_floating_dock_ends_with_the_window_below(window, docked):
    window.dock.setFloating(True)
    QApplication.processEvents()
    window.close()
    assert docked.came == [True]


def test_taking_the_widget_out_of_its_dock_is_its_end(docked):
    docked.setParent(None)
    assert docked.came == [True]
