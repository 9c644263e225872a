"""Exploring a result in a real viewer: keys pressed on the canvas, what the panel shows, at both of its widths."""

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication, QPushButton, QScrollArea, QWidget
from superqt import QCollapsible

from napari_diffseg.plugin.background.worker import launch
from napari_diffseg.plugin.explore.navigation import slice_on_screen
from napari_diffseg.plugin.panel.panel import DiffsegPanel
from napari_diffseg.plugin.session.session import Phase, Session
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
    """Until nothing goes on and all layers have come."""
    qtbot.waitUntil(lambda: panel.session.phase is Phase.IDLE and not panel.results.is_behind, timeout=90_000)


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


@pytest.mark.slow
def test_the_panel_says_what_the_members_say_of_the_voxel_under_the_cursor(shown, viewer):
    view = shown.results.view
    point_at(viewer, view.point_of(voxel_with(2)))
    assert find(shown, "cursor").text() == "votes 2/4; variance 0.33"
    find(shown, "measure").setCurrentText("entropy")
    point_at(viewer, view.point_of(voxel_with(1)))
    assert find(shown, "cursor").text() == "votes 1/4; entropy 0.81 bits"
    assert find(shown, "uncertainty_legend").texts == ("0", "uncertainty: entropy, bits", "1")
    point_at(viewer, np.array(view.point_of((0, 0, 0))) - 1000)
    assert find(shown, "cursor").text() == "Point at a voxel to read its votes."


@pytest.mark.slow
def test_u_on_the_canvas_hides_the_uncertainty_and_brings_it_back(shown, viewer, qtbot):
    layer = viewer.layers["diffseg 1 | uncertainty"]
    press(viewer, qtbot, Qt.Key.Key_U)
    assert not layer.visible
    press(viewer, qtbot, Qt.Key.Key_U)
    assert layer.visible


@pytest.mark.slow
def test_a_closed_panel_leaves_keys_and_status_alone(shown, viewer, qtbot):
    view = shown.results.view
    viewer.window.remove_dock_widget(shown)
    QApplication.processEvents()
    assert not viewer.keymap
    point_at(viewer, view.point_of(voxel_with(2)))
    assert "members" not in str(viewer.status)


def explored(panel, qtbot):
    """The explore box, unfolded, once it shows what was measured."""
    measuring = panel.exploring.measuring
    qtbot.waitUntil(lambda: measuring.findings is not None and not measuring.is_busy, timeout=90_000)
    for fold in panel.exploring.box.findChildren(QCollapsible):
        fold.expand(animate=False)
    panel.exploring.box.lesions.smallest.setValue(0.0)  # members here have a dozen voxels
    QApplication.processEvents()
    return panel.exploring.box


def visible_members(viewer):
    return [layer.name for layer in viewer.layers if "| member " in layer.name and layer.visible]


def test_after_a_run_the_panel_says_volume_and_lesions(shown, qtbot):
    explored(shown, qtbot)
    mean = f"{np.mean([fake_member(SHAPE, k).sum() for k in range(4)]) / 1000:.2f}"
    assert find(shown, "findings").text().startswith(f"{mean} ml (range of 4 members: ")
    table = find(shown, "lesions")
    assert [table.item(0, column).text() for column in (0, 1)] == ["4/4", mean]


@pytest.mark.slow
def test_components_smaller_than_asked_for_are_not_listed(shown, qtbot):
    box = explored(shown, qtbot)
    table, line = find(shown, "lesions"), find(shown, "findings")
    assert "1 lesion" in line.text()
    find(shown, "smallest_lesion").setValue(900.0)
    assert table.rowCount() == 0
    assert "no lesion" in line.text()
    assert box.lesions.note.text() == "1 smaller than 900 ml is not listed."
    box.show_findings(shown.exploring.measuring.findings)  # it stays as it was chosen
    assert table.rowCount() == 0


@pytest.mark.slow
def test_a_click_on_a_brick_shows_its_member_and_a_second_one_hides_it(shown, viewer, qtbot):
    explored(shown, qtbot)
    histogram = find(shown, "histogram")
    bricks = histogram.bricks()
    assert set(bricks) == {0, 1, 2, 3}
    for expected in (["diffseg 1 | member 3"], []):
        qtbot.mouseClick(histogram, Qt.MouseButton.LeftButton, pos=bricks[2].center().toPoint())
        assert visible_members(viewer) == expected


@pytest.mark.slow
def test_the_member_on_the_canvas_stays_there_when_members_come_to_share_a_layer(shown, viewer, qtbot):
    box = explored(shown, qtbot)
    box.volume.picked.emit(2)
    find(shown, "one_layer").click()
    layer = viewer.layers["diffseg 1 | members"]
    assert (layer.visible, viewer.dims.current_step[0]) == (True, 2)
    find(shown, "one_layer").click()
    wait_idle(shown, qtbot)
    assert visible_members(viewer) == ["diffseg 1 | member 3"]


@pytest.mark.slow
def test_smallest_median_and_largest_are_one_click_away(shown, viewer, qtbot):
    explored(shown, qtbot)
    volumes = shown.exploring.measuring.findings.volumes
    for name, member in (("smallest", volumes.smallest), ("medoid", volumes.medoid), ("largest", volumes.largest)):
        find(shown, f"member_{name}").click()
        assert visible_members(viewer) == [f"diffseg 1 | member {member + 1}"]
    find(shown, "member_none").click()
    assert visible_members(viewer) == []


@pytest.mark.slow
def test_a_click_on_a_lesion_goes_there(shown, viewer, qtbot):
    explored(shown, qtbot)
    find(shown, "lesions").cellClicked.emit(0, 0)
    view = shown.results.view
    stack = np.sum([fake_member(SHAPE, k) for k in range(4)], axis=0)
    assert stack[view.voxel_at(viewer.dims.point)] == 4


@pytest.mark.slow
def test_keys_go_to_the_next_lesion_and_the_next_uncertain_slice(shown, viewer, qtbot):
    explored(shown, qtbot)
    press(viewer, qtbot, Qt.Key.Key_N)
    variance = shown.results.result.ensemble.variance()[0].sum(axis=(0, 1))
    assert slice_on_screen(viewer, shown.results.view) == int(np.argmax(variance))
    press(viewer, qtbot, Qt.Key.Key_N, Qt.KeyboardModifier.ShiftModifier)
    assert find(shown, "lesions").selectedItems()[0].row() == 0


@pytest.mark.slow
def test_fewer_members_are_measured_anew(shown, qtbot):
    explored(shown, qtbot)
    find(shown, "shown").setValue(2)
    qtbot.waitUntil(lambda: find(shown, "lesions").item(0, 0).text() == "2/2", timeout=90_000)


@pytest.mark.slow
def test_a_new_run_forgets_what_was_measured(shown, segmenter, qtbot):
    explored(shown, qtbot)
    segmenter.pause = 0.2  # the run lasts until it is cancelled
    find(shown, "run").click()
    qtbot.waitUntil(lambda: find(shown, "lesions").rowCount() == 0, timeout=90_000)
    assert find(shown, "findings").text().startswith("Volume and lesions are shown here once")
    assert not find(shown, "member_largest").isEnabled()
    shown.session.cancel()
    wait_idle(shown, qtbot)


@pytest.mark.slow
def test_nothing_is_cut_off_in_the_explore_box_at_the_least_width(shown, qtbot):
    box = explored(shown, qtbot)
    shown.resize(320, 1200)
    QApplication.processEvents()
    for button in box.findChildren(QPushButton):
        assert button.width() >= button.fontMetrics().horizontalAdvance(button.text()) + 4, button.text()
    table = find(shown, "lesions")
    for column in range(table.columnCount()):
        text = table.item(0, column).text()
        assert table.columnWidth(column) > table.fontMetrics().horizontalAdvance(text), text
    scroll = shown.findChild(QScrollArea)
    assert scroll.widget().minimumSizeHint().width() <= scroll.viewport().width()


@pytest.mark.slow
def test_convergence_is_plotted_and_says_whether_it_has_settled(shown, qtbot):
    box = explored(shown, qtbot).convergence
    found = shown.exploring.measuring.findings.convergence
    assert box.dice.points == tuple(enumerate(found.dice, start=2))
    assert box.volume.points == tuple(enumerate(found.volume_ml, start=1))
    assert find(shown, "settled").text().startswith("Not stable")


@pytest.mark.slow
def test_a_run_ends_by_itself_when_asked_to_stop_when_stable(shown, qtbot, segmenter):
    segmenter.alike = True
    segmenter.pause = 0.005
    shown.settings.controls["members"].set_value(300)
    find(shown, "stop_when_stable").setChecked(True)
    find(shown, "run").click()
    wait_idle(shown, qtbot)
    assert 4 <= shown.results.result.ensemble.count < 300
    assert "kept" in find(shown, "status").text()
    qtbot.waitUntil(lambda: find(shown, "settled").text() == "Stable since 1 member.", timeout=90_000)
    assert find(shown, "stop_when_stable").isChecked()


@pytest.mark.slow
def test_a_mask_drawn_over_the_images_is_offered_as_reference_and_judged(shown, viewer, qtbot):
    box = explored(shown, qtbot).reference
    viewer.layers.selection.active = viewer.layers["case_1 flair"]
    viewer._new_labels()
    drawn = viewer.layers.selection.active
    drawn.data[...] = viewer.layers["diffseg 1 | member 1"].data
    box.layer.setCurrentText(drawn.name)
    qtbot.waitUntil(lambda: box.line.text().startswith("Dice "), timeout=90_000)
    assert "to 1.00)" in box.line.text()  # member 1 itself
