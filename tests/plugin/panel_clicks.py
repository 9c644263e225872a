"""What a user does with the panel: finds a control, clicks it, waits, and reads what it says."""

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QWidget

from napari_diffseg.plugin.session.task import Phase


def find(panel, name):
    widget = panel.findChild(QWidget, f"diffseg_{name}")
    assert widget is not None, name
    return widget


def click(panel, name, qtbot):
    qtbot.mouseClick(find(panel, name), Qt.MouseButton.LeftButton)


def wait_idle(panel, qtbot):
    """Until nothing goes on and all layers have come."""
    qtbot.waitUntil(lambda: panel.session.phase is Phase.IDLE and not panel.results.is_behind, timeout=90_000)


def status(panel):
    return find(panel, "status").text().replace("\u200b", "")
