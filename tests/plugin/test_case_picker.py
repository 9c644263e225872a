"""A folder of cases: which there are, from one to the next and back, and nothing of one case is taken for another's."""

import json

import numpy as np
import pytest
from panel_clicks import click, find, images_open, names_of, settle, status, wait_idle
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QMainWindow

from napari_diffseg.plugin.grid.frame import RESULT_KEY
from napari_diffseg.plugin.widgets.case_picker import CasePicker
from plugin_fakes import MODALITIES, write_images

NAMES = ("alice", "bob", "carol")


def go(panel, name, qtbot):
    click(panel, name, qtbot)
    settle(panel, qtbot)


def test_a_dropped_folder_of_cases_lists_them_and_opens_the_first(gone_into):
    panel = gone_into
    assert find(panel, "cases").isVisible()
    assert [find(panel, "cases").itemText(n) for n in range(3)] == list(NAMES)
    assert find(panel, "cases").currentText() == "alice"
    assert images_open(panel) == names_of("alice")
    assert find(panel, "cases_line").text() == "Case 1 of 3, 1 with a reference, 0 with a run."
    assert not find(panel, "previous_case").isEnabled()
    assert panel.session.why_not_run() is None


def test_next_closes_the_case_before_and_brings_its_reference(gone_into, qtbot):
    panel = gone_into
    go(panel, "next_case", qtbot)
    assert images_open(panel) == names_of("bob", "seg")
    assert find(panel, "reference").currentText() == "bob seg"
    go(panel, "next_case", qtbot)
    assert images_open(panel) == names_of("carol")
    assert not find(panel, "next_case").isEnabled()
    assert status(panel).startswith("Case carol: 3 of 3.")


def test_the_list_of_names_that_fit_looks_as_the_window_does(screen, qtbot):
    window = QMainWindow()
    qtbot.addWidget(window)
    window.setStyleSheet("QListView { background-color: rgb(10, 20, 30); }")
    picker = CasePicker()
    window.setCentralWidget(picker)
    popup = picker.box.completer().popup()
    popup.show()
    assert popup.styleSheet() == window.styleSheet()
    popup.hide()


@pytest.mark.slow
def test_who_comes_back_finds_run_and_correction(gone_into, qtbot):
    panel = gone_into
    click(panel, "run", qtbot)
    wait_idle(panel, qtbot)
    mask = panel.results.view.mask
    mask.brush_size = 1
    mask.paint((0, 0, 0), 1)  # no member marks it
    go(panel, "next_case", qtbot)
    assert panel.results.view is None
    assert panel.session.runs.records == ()
    assert find(panel, "cases_line").text() == "Case 2 of 3, 1 with a reference, 1 with a run, 1 corrected."
    go(panel, "previous_case", qtbot)
    [entry] = panel.session.runs.records
    assert entry.case == "alice"
    assert entry.plan.is_of(panel.session.images)
    assert json.loads((entry.plan.folder / "run.json").read_text())["case"] == "alice"
    [edited] = entry.result.edited.values()
    assert np.count_nonzero(edited.mask != panel.results.view.ensemble.consensus()[0]) == 1
    assert panel.session.why_not_add() is None


@pytest.mark.slow
def test_a_case_that_was_open_already_is_there_once_with_its_one_run(panel, many, qtbot):
    click(panel, "checkpoint_demo", qtbot)
    wait_idle(panel, qtbot)
    panel.case.opened.emit([str(many / "bob")])
    settle(panel, qtbot)
    panel.settings.controls["members"].set_value(1)
    click(panel, "run", qtbot)
    wait_idle(panel, qtbot)
    before = panel.session.runs.on_screen
    panel.case.opened.emit([str(many)])
    settle(panel, qtbot)
    go(panel, "next_case", qtbot)
    assert [name.partition(" [")[0] for name in images_open(panel)] == names_of("bob", "seg")
    [entry] = panel.session.runs.records
    assert entry is not before
    assert entry.plan.folder == before.plan.folder
    prefixes = {layer.metadata.get(RESULT_KEY) for layer in panel.viewer.layers}
    assert before.layer_prefix not in prefixes
    assert entry.layer_prefix in prefixes


@pytest.mark.slow
def test_labels_that_were_painted_in_stay_when_their_case_is_closed(gone_into, qtbot):
    panel = gone_into
    go(panel, "next_case", qtbot)
    drawn = panel.viewer.layers["bob seg"]
    drawn.paint((0, 0, 0), 1)
    go(panel, "next_case", qtbot)
    assert images_open(panel) == ["bob seg", *names_of("carol")]
    assert not drawn.visible
    assert find(panel, "reference").currentText() != "bob seg"


@pytest.mark.slow
def test_a_name_is_found_by_a_part_of_it(gone_into, qtbot):
    panel = gone_into
    line = find(panel, "cases").lineEdit()
    line.selectAll()
    qtbot.keyClicks(line, "aro")
    qtbot.keyClick(line, Qt.Key.Key_Return)
    settle(panel, qtbot)
    assert images_open(panel) == names_of("carol")


@pytest.mark.slow
def test_a_case_that_cannot_be_read_leaves_nothing_of_the_one_before(panel, many, qtbot):
    (many / "bob" / "bob_t2.nii.gz").write_bytes(b"no image")
    panel.case.opened.emit([str(many)])
    settle(panel, qtbot)
    go(panel, "next_case", qtbot)
    assert images_open(panel) == []
    assert "bob_t2.nii.gz" in status(panel)
    go(panel, "next_case", qtbot)
    assert images_open(panel) == names_of("carol")


@pytest.mark.slow
def test_of_cases_asked_for_at_once_the_last_is_shown(gone_into, qtbot):
    panel = gone_into
    panel.case.picker.asked.emit(1)
    panel.case.picker.asked.emit(2)
    settle(panel, qtbot)
    assert images_open(panel) == names_of("carol")
    assert find(panel, "cases").currentText() == "carol"


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["numbered", "by modality"])
def test_images_whose_names_tell_nothing_are_of_one_case(panel, layout, tmp_path, qtbot):
    for k in (1, 2):
        made = write_images(tmp_path / "made", case_id=f"BR_{k}")
        for n, modality in enumerate(MODALITIES):
            name = f"BR_{k}_000{n}" if layout == "numbered" else f"{modality}/BR_{k}"
            place = tmp_path / "all" / f"{name}.nii.gz"
            place.parent.mkdir(parents=True, exist_ok=True)
            (made / f"BR_{k}_{modality}.nii.gz").rename(place)
    channels = {str(n): name for n, name in enumerate(MODALITIES)}
    (tmp_path / "all" / "dataset.json").write_text(json.dumps({"channel_names": channels}))
    click(panel, "checkpoint_demo", qtbot)
    panel.case.opened.emit([str(tmp_path / "all")])
    settle(panel, qtbot)
    go(panel, "next_case", qtbot)
    assert images_open(panel) == names_of("BR_2")
    assert find(panel, "case_notes").text() == ""
    click(panel, "run", qtbot)
    wait_idle(panel, qtbot)
    assert panel.session.runs.on_screen.case == "BR_2"
    go(panel, "previous_case", qtbot)
    go(panel, "next_case", qtbot)
    assert panel.session.runs.on_screen.case == "BR_2"
    assert panel.session.why_not_add() is None
