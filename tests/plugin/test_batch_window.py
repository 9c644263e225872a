"""The window of a batch, clicked: from the settings in the panel to the table and the cases of its lines."""

import pytest
from panel_clicks import click, find, images_open, names_of, settle, status, wait_idle
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog, QMessageBox, QWidget

from napari_diffseg.plugin.session.batch import CaseState


@pytest.fixture
def batch(gone_into, qtbot):
    """The panel with the window of the batch open."""
    click(gone_into, "batch", qtbot)
    return gone_into


def click_in(panel, name, qtbot):
    widget = panel.batching.window.findChild(QWidget, f"diffseg_batch_{name}")
    qtbot.mouseClick(widget, Qt.MouseButton.LeftButton)


def click_row(panel, row, column, qtbot):
    view = panel.batching.window.view
    place = view.visualRect(panel.batching.window.table.index(row, column))
    qtbot.mouseClick(view.viewport(), Qt.MouseButton.LeftButton, pos=place.center())


def wait_over(panel, qtbot):
    qtbot.waitUntil(lambda: not panel.session.batch.is_going_on, timeout=90_000)


@pytest.mark.slow
def test_a_batch_is_run_looked_at_and_saved(batch, many, tmp_path, monkeypatch, qtbot):
    panel, window = batch, batch.batching.window
    assert window.settings.text().replace("\u200b", "") == "demo: 2 members x 4 timesteps, seed 0, whole volumes."
    assert window.out.text() == str(tmp_path / "all_diffseg")
    assert [row.message for row in window.table.rows] == ["", "There is a reference.", ""]
    window.table.tick(["bob", "carol"])
    click_in(panel, "start", qtbot)
    assert not find(panel, "run").isEnabled()
    wait_over(panel, qtbot)
    assert [row.state for row in window.table.rows] == [CaseState.LEFT_OUT, CaseState.DONE, CaseState.DONE]
    assert window.status.text() == "The batch is over: 2 done."
    assert find(panel, "run").isEnabled()
    assert find(panel, "cases_line").text() == "Case 1 of 3, 1 with a reference, 2 with a run."
    click_row(panel, 1, 1, qtbot)
    settle(panel, qtbot)
    assert images_open(panel) == names_of("bob", "seg")
    [entry] = panel.session.runs.records
    assert (entry.case, entry.plan.folder) == ("bob", tmp_path / "all_diffseg" / "bob")
    assert panel.session.why_not_add() is None  # its images are known, though no file in the results names them
    table = tmp_path / "batch.csv"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(table), ""))
    click_in(panel, "save", qtbot)
    assert table.read_text().splitlines()[1].startswith("bob,done,")


@pytest.mark.slow
def test_a_line_opens_the_run_of_the_batch_also_where_the_case_has_an_earlier_one_on_the_screen(batch, tmp_path, qtbot):
    panel = batch
    click(panel, "run", qtbot)
    wait_idle(panel, qtbot)
    panel.batching.window.table.tick(["alice"])
    click_in(panel, "start", qtbot)
    wait_over(panel, qtbot)
    click_row(panel, 0, 1, qtbot)
    settle(panel, qtbot)
    assert panel.session.runs.on_screen.plan.folder == tmp_path / "all_diffseg" / "alice"


@pytest.mark.slow
def test_a_batch_goes_on_while_cases_are_looked_at_and_without_the_panel(batch, segmenter, qtbot):
    panel = batch
    segmenter.pause = 0.02
    click_in(panel, "start", qtbot)
    click(panel, "next_case", qtbot)
    settle(panel, qtbot)
    assert images_open(panel) == names_of("bob", "seg")
    assert panel.session.batch.is_going_on
    assert "A batch is going on" in find(panel, "run").toolTip()
    click_in(panel, "cancel", qtbot)
    wait_over(panel, qtbot)
    assert "Stopped; cases and members that are finished are kept" in status(panel)
    assert panel.session.why_not_run() is None


@pytest.mark.slow
def test_before_an_hour_it_is_asked_whether_to_start(batch, monkeypatch, qtbot):
    panel, asked = batch, []
    monkeypatch.setattr(panel.batching, "_seconds_of_case", lambda: 1800.0)
    monkeypatch.setattr(QMessageBox, "exec", lambda box: asked.append(box.text()))  # no button is clicked
    click_in(panel, "start", qtbot)
    assert len(asked) == 1
    assert "1 h 30 min" in asked[0]
    assert not panel.session.batch.is_going_on
    wait_idle(panel, qtbot)
