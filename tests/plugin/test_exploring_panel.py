"""Exploring a result in a real viewer: keys pressed on the canvas, what the panel shows, at both of its widths."""

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication, QWidget

from napari_diffseg.plugin.panel import DiffsegPanel
from napari_diffseg.plugin.session import Phase, Session
from napari_diffseg.plugin.worker import launch
from plugin_fakes import SHAPE, FakeLoader, fake_member


@pytest.fixture
def shown(viewer, segmenter, case_folder, tmp_path, qtbot):
    """The panel after a run of four members."""
    session = Session(launch=launch, load_engine=FakeLoader(segmenter), runs_folder=tmp_path / "runs")
    panel = DiffsegPanel(viewer, session=session)
    viewer.window.add_dock_widget(panel, name="Diffusion ensemble", area="right")
    panel.case.opened.emit([str(case_folder)])
    panel.checkpoint.choose("demo")
    wait_idle(panel, qtbot)
    panel.settings.controls["members"].set_value(4)
    find(panel, "run").click()
    wait_idle(panel, qtbot)
    yield panel
    session.close()


def find(panel, name):
    widget = panel.findChild(QWidget, f"diffseg_{name}")
    assert widget is not None, name
    return widget


def wait_idle(panel, qtbot):
    qtbot.waitUntil(lambda: panel.session.phase is Phase.IDLE, timeout=10_000)


def press(viewer, qtbot, key, modifier=Qt.KeyboardModifier.NoModifier):
    """Press a key as if the canvas had the focus."""
    qtbot.keyClick(viewer.window._qt_viewer.canvas.native, key, modifier)


def point_at(viewer, point):
    viewer.mouse_over_canvas = True
    viewer.cursor.position = point
    viewer.update_status_from_cursor()


def voxel_with(votes, members=4):
    stack = np.sum([fake_member(SHAPE, k) for k in range(members)], axis=0)
    x, y, z = np.argwhere(stack == votes)[0]
    return int(x), int(y), int(z)


def test_the_panel_says_what_the_members_say_of_the_voxel_under_the_cursor(shown, viewer):
    view = shown.results.view
    point_at(viewer, view.point_of(voxel_with(2)))
    assert find(shown, "cursor").text() == "2 of 4 members; variance 0.33"
    find(shown, "measure").setCurrentText("entropy")
    point_at(viewer, view.point_of(voxel_with(1)))
    assert find(shown, "cursor").text() == "1 of 4 members; entropy 0.81 bits"
    assert find(shown, "uncertainty_legend").texts == ("0", "uncertainty: entropy, bits", "1")
    point_at(viewer, np.array(view.point_of((0, 0, 0))) - 1000)
    assert find(shown, "cursor").text() == "Point at a voxel to read its votes."


def test_u_on_the_canvas_hides_the_uncertainty_and_brings_it_back(shown, viewer, qtbot):
    layer = viewer.layers["diffseg 1 | uncertainty"]
    press(viewer, qtbot, Qt.Key.Key_U)
    assert not layer.visible
    press(viewer, qtbot, Qt.Key.Key_U)
    assert layer.visible


def test_a_closed_panel_leaves_keys_and_status_alone(shown, viewer, qtbot):
    view = shown.results.view
    viewer.window.remove_dock_widget(shown)
    QApplication.processEvents()
    assert not viewer.keymap
    point_at(viewer, view.point_of(voxel_with(2)))
    assert "members" not in str(viewer.status)
