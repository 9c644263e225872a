"""What a user does with the panel: finds a control, clicks it, waits, and reads what it says."""

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QWidget

from napari_diffseg.plugin.grid.frame import RESULT_KEY
from napari_diffseg.plugin.session.task import Phase
from plugin_fakes import MODALITIES


def find(panel, name):
    widget = panel.findChild(QWidget, f"diffseg_{name}")
    assert widget is not None, name
    return widget


def click(panel, name, qtbot):
    qtbot.mouseClick(find(panel, name), Qt.MouseButton.LeftButton)


def wait_idle(panel, qtbot):
    """Until nothing goes on and all layers have come."""
    qtbot.waitUntil(lambda: panel.session.phase is Phase.IDLE and not panel.results.is_behind, timeout=90_000)


def settle(panel, qtbot):
    """Until the case that was asked for is open, and what is known of the others."""
    wait_idle(panel, qtbot)
    qtbot.waitUntil(lambda: not (panel.picking.looking.is_busy or panel.picking.is_opening), timeout=90_000)
    wait_idle(panel, qtbot)


def images_open(panel):
    """Names of the layers that are no results."""
    return [layer.name for layer in panel.viewer.layers if RESULT_KEY not in layer.metadata]


def names_of(case, *more):
    """What the layers of a case are called."""
    return [f"{case} {modality}" for modality in (*MODALITIES, *more)]


def status(panel):
    return find(panel, "status").text().replace("\u200b", "")
