"""What is seen before anything is loaded is what can be used then; the rest comes when it can."""

import tomllib
from datetime import date, datetime, time
from itertools import pairwise
from pathlib import Path

import pytest
from panel_clicks import click, find, wait_idle
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QAbstractSlider,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QLineEdit,
    QScrollArea,
    QScrollBar,
    QWidget,
)

from napari_diffseg.plugin.panel.forecasting import _key
from napari_diffseg.plugin.panel.panel import DiffsegPanel
from napari_diffseg.plugin.panel.remembered import Remembered
from napari_diffseg.plugin.session.run_store import KeptRun, RunStore, begun_at
from napari_diffseg.plugin.session.scope import scope_words
from napari_diffseg.plugin.widgets.dialogs.help_dialog import LINKS, OWN_KEYS, HelpDialog
from napari_diffseg.plugin.widgets.dialogs.settings_dialog import SettingsDialog

MOST = 12
ROW = 12
"""Pixels within which two controls stand in one line."""
_KINDS = (QAbstractButton, QAbstractItemView, QAbstractSlider, QAbstractSpinBox, QComboBox, QLineEdit)


def controls(panel):
    """What of the panel can be clicked or typed in and is in sight; the parts of a control are not counted again."""
    return [
        widget
        for widget in panel.findChildren(QWidget)
        if isinstance(widget, _KINDS)
        and not isinstance(widget, QScrollBar)
        and not isinstance(widget.parentWidget(), QAbstractSpinBox | QComboBox | QAbstractItemView)
        and widget.isVisibleTo(panel)
    ]


def test_at_most_twelve_controls_are_in_sight_before_anything_is_loaded(panel):
    names = {widget.objectName() for widget in controls(panel)}
    assert len(controls(panel)) <= MOST
    assert names >= {"diffseg_open_folder", "diffseg_open_sample", "diffseg_checkpoint"}
    for later in ("run", "progress", "results", "layer_t1", "members"):
        assert not find(panel, later).isVisibleTo(panel), later


def test_what_can_be_used_comes_step_by_step(ready, viewer, qtbot):
    for name in ("run", "live", "members", "layer_t1"):
        assert find(ready, name).isVisibleTo(ready), name
    for name in ("results", "progress", "cancel"):
        assert not find(ready, name).isVisibleTo(ready), name
    click(ready, "run", qtbot)
    wait_idle(ready, qtbot)
    for name in ("results", "export", "more", "runs_fold", "volume_fold"):
        assert find(ready, name).isVisibleTo(ready), name
    viewer.layers.clear()
    qtbot.waitUntil(lambda: not find(ready, "run").isVisibleTo(ready), timeout=30_000)
    assert not find(ready, "export").isVisibleTo(ready)
    assert find(ready, "runs_fold").isVisibleTo(ready)


def test_tab_goes_through_the_controls_as_they_are_read(ready, viewer, qtbot):
    viewer.window.resize(1180, 900)
    ready.settings.advanced.expand(animate=False)
    QApplication.processEvents()
    first = find(ready, "open_settings")
    chain, at = [first], first.nextInFocusChain()
    while at is not first:
        if at.isVisibleTo(ready) and at.focusPolicy() & Qt.FocusPolicy.TabFocus and at.focusProxy() is None:
            chain.append(at)
        at = at.nextInFocusChain()
    within = [widget for widget in chain if ready.isAncestorOf(widget) and not isinstance(widget, QScrollArea)]
    assert len(within) > 20
    parts = (ready.top_row, ready.findChild(QScrollArea), ready.run_box)
    sections = [next(n for n, part in enumerate(parts) if part.isAncestorOf(widget)) for widget in within]
    assert sections == sorted(sections)
    for (one, section), (other, next_one) in pairwise(zip(within, sections, strict=True)):
        if section != next_one:
            continue
        before, after = (widget.mapTo(ready, widget.rect().center()) for widget in (one, other))
        is_in_row = abs(after.y() - before.y()) <= ROW
        assert after.x() > before.x() if is_in_row else after.y() > before.y(), (one.objectName(), other.objectName())


@pytest.mark.slow
def test_the_run_has_a_key_on_the_canvas_and_in_the_panel(ready, viewer, qtbot):
    viewer.window._qt_viewer.canvas.native.setFocus()
    qtbot.keyClick(viewer.window._qt_viewer.canvas.native, Qt.Key.Key_Return, Qt.KeyboardModifier.ControlModifier)
    wait_idle(ready, qtbot)
    assert len(ready.session.runs.records) == 1
    find(ready, "scope").setFocus()
    qtbot.keyClick(find(ready, "scope"), Qt.Key.Key_Return, Qt.KeyboardModifier.ControlModifier)
    wait_idle(ready, qtbot)
    assert len(ready.session.runs.records) == 2
    assert "Ctrl+Enter" in find(ready, "run").toolTip()


@pytest.mark.slow
def test_a_run_of_an_hour_is_begun_only_once_the_user_has_said_so(ready, qtbot, monkeypatch):
    ready.forecasting._tried.clear()
    plan = ready.forecasting._plan()
    asked, answers = [], [False, True]
    monkeypatch.setattr(ready.run_box, "ask_whether_to_start", lambda s: asked.append(s) or answers.pop(0))
    ready.remembered.remember_speed(_key(plan.checkpoint, plan.request), 1000.0)
    click(ready, "run", qtbot)
    assert not ready.session.runs.records
    ready.remembered.remember_speed(_key(plan.checkpoint, plan.request), 1000.0)
    click(ready, "run", qtbot)
    wait_idle(ready, qtbot)
    assert len(ready.session.runs.records) == 1
    assert min(asked) >= 3 * 4 * 1000.0  # members, timesteps, seconds, and some slices
    click(ready, "run", qtbot)  # what the run took is known now
    wait_idle(ready, qtbot)
    assert len(asked) == 2


def test_runs_are_told_apart_by_time_case_scope_and_steps(tmp_path):
    today = f"{datetime.now():%Y%m%d}"
    assert begun_at(tmp_path / f"{today}-142505-000001_case_1") == datetime.combine(date.today(), time(14, 25, 5))
    assert begun_at(tmp_path / "somebody's") is None
    assert scope_words(None, None) == "whole volume"
    assert scope_words("51:52", None) == "slice 51"
    assert scope_words("58:68", None) == "slices 58:68"
    assert scope_words("58:68", "1:2,3:4") == "box, slices 58:68"
    kept = KeptRun(tmp_path, "case_1", None, 5, True, "slice 51", 10)
    assert kept.words == "case_1, slice 51, 5 members x 10 steps"


def test_settings_say_where_runs_are_kept_and_how_many(qtbot, tmp_path):
    parent = QWidget()
    qtbot.addWidget(parent)
    dialog = SettingsDialog(RunStore(tmp_path / "runs"), parent)
    assert dialog.place.text().replace("\u200b", "") == str(tmp_path / "runs")
    dialog.keep.setCurrentIndex(dialog.keep.findData(10))
    dialog.keep.activated.emit(dialog.keep.currentIndex())
    assert RunStore(tmp_path / "runs").keep == 10
    with qtbot.waitSignal(dialog.moved) as told:
        dialog.keep_in(tmp_path / "elsewhere")
    assert told.args == [RunStore(tmp_path / "elsewhere")]
    assert RunStore(tmp_path / "elsewhere").keep == 10
    (tmp_path / "file").write_text("")
    dialog.keep_in(tmp_path / "file")
    assert not dialog.failure.isHidden()
    assert dialog.place.text().replace("\u200b", "") == str(tmp_path / "elsewhere")


def test_runs_are_kept_where_the_settings_say_also_the_next_time(viewer, tmp_path):
    remembered = Remembered(None)
    remembered.remember_runs_folder(tmp_path / "mine")
    made = DiffsegPanel(viewer, remembered=remembered)
    assert made.session.store.root == tmp_path / "mine"
    made.session.close()
    made.deleteLater()


def test_help_names_the_keys_that_there_are(panel, qtbot):
    dialog = HelpDialog(panel)
    qtbot.addWidget(dialog)
    bound = {str(key) for key in panel.viewer.keymap}
    for key, _ in OWN_KEYS:
        assert key in bound, bound
        assert key in dialog.text.text()
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))["project"]
    assert set(LINKS.values()) == set(project["urls"].values())
