"""What is written can be read: nothing is cut off, drawn off the canvas."""

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QDockWidget,
    QLabel,
    QScrollArea,
    QStyle,
    QStyleOptionComboBox,
    QWidget,
)

from napari_diffseg.plugin.background.worker import launch
from napari_diffseg.plugin.canvas.result_style import difference_style
from napari_diffseg.plugin.layers.slice_map import SliceMapLayer
from napari_diffseg.plugin.panel.panel import DiffsegPanel
from napari_diffseg.plugin.session.session import Session
from napari_diffseg.plugin.session.task import Phase
from napari_diffseg.plugin.widgets.compute_box import HERE, PROCESS, SSH
from napari_diffseg.plugin.widgets.fold import Fold
from napari_diffseg.plugin.widgets.layer_combo import LayerCombo
from plugin_fakes import SHAPE, FakeLoader


@pytest.fixture
def panel(viewer, segmenter, tmp_path, case_folder, qtbot):
    """After a run of twelve members, as narrow as it gets."""
    session = Session(launch=launch, load_engine=FakeLoader(segmenter), runs_folder=tmp_path / "runs")
    made = DiffsegPanel(viewer, session=session)
    viewer.window.add_dock_widget(made, name="Diffusion ensemble", area="right")
    made.case.opened.emit([str(case_folder)])
    qtbot.mouseClick(find(made, "checkpoint_demo"), Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: session.phase is Phase.IDLE, timeout=90_000)
    made.settings.controls["members"].set_value(12)
    qtbot.mouseClick(find(made, "run"), Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: session.phase is Phase.IDLE, timeout=90_000)
    qtbot.waitUntil(lambda: not made.results.is_behind, timeout=90_000)
    yield made
    session.close()


def find(panel, name):
    return panel.findChild(QWidget, f"diffseg_{name}")


@pytest.mark.slow
def test_a_map_of_one_slice_has_its_colours_and_name_on_the_canvas(panel, viewer, qtbot):
    viewer.window.resize(1180, 860)
    slab = SliceMapLayer(viewer)
    name = "what if, t1ce: run - changed"
    slab.show(panel.results.view, 2, plane=np.ones(SHAPE[:2], np.float32), name=name, style=difference_style())
    canvas = viewer.window._qt_viewer.canvas
    QApplication.processEvents()
    canvas.on_draw(None)
    seen = [layer for layer in viewer.layers if layer.visible and getattr(layer, "colorbar", None) is not None]
    assert {layer.name for layer in seen} >= {"diffseg 1 | uncertainty", f"diffseg 1 | {name}"}
    corners = {layer.name: (str(layer.colorbar.position), str(layer.name_overlay.position)) for layer in seen}
    assert corners[f"diffseg 1 | {name}"] == ("bottom_right", "bottom_right")
    assert corners["diffseg 1 | uncertainty"] == ("top_right", "top_right")
    for layer in seen:
        for overlay, drawn in canvas._layer_overlay_to_visual[layer].items():
            if overlay.visible and hasattr(drawn, "x_size"):
                left, top = drawn.node.transform.translate[:2]
                assert left >= 0, (layer.name, overlay)
                assert top >= 0, (layer.name, overlay)
                assert left + drawn.x_size <= canvas.size[1] + 1
                assert top + drawn.y_size <= canvas.size[0] + 1


@pytest.mark.slow
def test_the_count_of_members_has_room_for_two_digits(panel):
    [reading] = [label for label in panel.result.findChildren(QLabel) if label.text() == "12 of 12"]
    assert reading.width() >= reading.sizeHint().width()
    assert panel.result._threshold_reading.width() == reading.width()


def test_a_folds_triangle_is_part_of_its_text_and_says_whether_it_is_open(qtbot):
    fold = Fold("x", "Advanced", tip="y")
    qtbot.addWidget(fold)
    assert fold.toggleButton().icon().isNull()
    assert fold.text() == "\u25b8  Advanced"
    fold.toggleButton().click()
    assert fold.text() == "\u25be  Advanced"
    assert fold.toggleButton().icon().isNull()
    fold.toggleButton().click()
    assert fold.text() == "\u25b8  Advanced"


@pytest.mark.slow
def test_where_runs_are_computed_can_be_read_whole(panel, viewer):
    viewer.window.resize(1180, 900)
    compute = find(panel, "compute")
    compute.expand()
    compute.place.setCurrentIndex(compute.place.findData(SSH))
    QApplication.processEvents()
    QApplication.processEvents()
    for widget in (compute.place, compute.host, compute.command, compute.test):
        assert widget.height() >= widget.sizeHint().height(), widget.objectName()


@pytest.mark.slow
def test_a_computer_that_is_chosen_while_something_goes_on_is_not_shown_as_chosen(panel, monkeypatch):
    monkeypatch.setattr(panel.session, "why_busy", lambda: "An export is going on: wait for it, or cancel it.")
    place = find(panel, "compute").place
    place.setCurrentIndex(place.findData(PROCESS))
    assert place.currentData() == HERE
    assert panel.remembered.compute.place == HERE


@pytest.mark.slow
def test_combo_boxes_of_the_case_begin_in_one_column(panel):
    boxes = [*panel.case.combos.values(), find(panel, "convention")]
    assert len({box.mapTo(panel, box.rect().topLeft()).x() for box in boxes}) == 1
    panel.case.set_modalities(("t1", "flair"))
    QApplication.processEvents()
    assert find(panel, "convention").isVisible()
    assert list(panel.case.combos) == ["t1", "flair"]


@pytest.mark.slow
def test_a_panel_of_320_pixels_needs_no_scrolling_sideways_whatever_is_unfolded(panel, viewer, qtbot):
    viewer.window.resize(1180, 640)
    dock = next(dock for dock in viewer.window._qt_window.findChildren(QDockWidget) if dock.isAncestorOf(panel))
    viewer.window._qt_window.resizeDocks([dock], [320], Qt.Orientation.Horizontal)
    panel.exploring.box.what_if.say("What came of it.", shown=True)
    panel.exploring.box.denoising.legend.show()
    area = panel.findChild(QScrollArea)
    for fold in panel.findChildren(Fold):
        fold.expand(animate=False)
        QApplication.processEvents()
        too_wide = {
            child.objectName() or type(child).__name__: child.minimumSizeHint().width()
            for child in fold.findChildren(QWidget)
            if child.isVisible() and child.minimumSizeHint().width() > area.viewport().width() - 40
        }
        assert area.horizontalScrollBar().maximum() == 0, (fold.objectName(), panel.width(), too_wide)
    assert panel.width() < 340
    assert area.verticalScrollBar().isVisible()


@pytest.mark.slow
def test_every_choice_can_be_read_whole_at_320_pixels(panel, viewer, qtbot):
    viewer.window.resize(1180, 900)
    dock = next(dock for dock in viewer.window._qt_window.findChildren(QDockWidget) if dock.isAncestorOf(panel))
    viewer.window._qt_window.resizeDocks([dock], [320], Qt.Orientation.Horizontal)
    for fold in panel.findChildren(Fold):
        fold.expand(animate=False)
    QApplication.processEvents()
    cut = []
    for box in panel.findChildren(QComboBox):
        if box.isVisible() and not isinstance(box, LayerCombo):  # names of layers are as long as they are
            option = QStyleOptionComboBox()
            box.initStyleOption(option)
            part = QStyle.SubControl.SC_ComboBoxEditField
            room = box.style().subControlRect(QStyle.ComplexControl.CC_ComboBox, option, part, box).width()
            texts = [box.itemText(n) for n in range(box.count())]
            cut += [(box.objectName(), text) for text in texts if box.fontMetrics().horizontalAdvance(text) > room]
    for box in panel.findChildren(QAbstractSpinBox):
        if box.isVisible() and box.fontMetrics().horizontalAdvance(box.text()) > box.lineEdit().width():
            cut.append((box.objectName(), box.text()))
    assert not cut
