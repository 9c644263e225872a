"""A run in napari's activity dock."""

import pytest
from napari.utils import progress
from qtpy.QtGui import QMovie
from qtpy.QtWidgets import QLabel, QWidget

from napari_diffseg.plugin import activity
from napari_diffseg.plugin.activity import Activity, hold_spinner
from napari_diffseg.plugin.task import Phase
from plugin_fakes import ready


@pytest.fixture
def bars(monkeypatch, qapp):
    """The bars that there are, each taken for one that napari shows, so that none is printed."""
    monkeypatch.setattr(activity, "_BETWEEN_MS", 0)
    monkeypatch.setattr(activity, "_AFTER_SECONDS", 0.0)
    progress._all_instances.events.changed.connect(lambda event: [setattr(bar, "gui", True) for bar in event.added])
    return progress._all_instances


def made(session, qtbot):
    widget = QWidget()
    qtbot.addWidget(widget)
    return Activity(session, widget)


def test_a_run_has_a_bar_that_goes_when_it_ends(session, bars, qtbot):
    shown = made(session, qtbot)
    session.progress.emit(2, 8, None)
    assert not bars  # what the session tells is told to its end first
    qtbot.waitUntil(lambda: len(bars) == 1)
    [bar] = bars
    assert (bar.total, bar.n) == (8, 2)
    session.progress.emit(5, 8, 1.0)
    qtbot.waitUntil(lambda: bar.n == 5)
    session.phase_changed.emit(Phase.PAUSED)
    assert list(bars) == [bar]
    session.phase_changed.emit(Phase.IDLE)
    assert not bars
    shown.close()


def test_the_bar_has_the_runs_name(session, layers, bars, qtbot):
    shown = made(session, qtbot)
    ready(session, layers, members=1).start()
    session.poll()
    assert session.runs.last is not None
    session.progress.emit(1, 8, None)
    qtbot.waitUntil(lambda: len(bars) == 1)
    assert [bar.desc.strip(": ") for bar in bars] == ["diffseg 1"]
    shown.close()


def test_a_panel_that_closes_takes_its_bar_away(session, bars, qtbot):
    shown = made(session, qtbot)
    session.progress.emit(1, 8, None)
    qtbot.waitUntil(lambda: len(bars) == 1)
    shown.close()
    assert not bars


def test_a_short_run_has_no_bar(session, bars, qtbot, monkeypatch):
    monkeypatch.setattr(activity, "_AFTER_SECONDS", 60.0)
    shown = made(session, qtbot)
    session.progress.emit(1, 8, None)
    qtbot.wait(50)
    session.progress.emit(2, 8, None)
    qtbot.wait(50)
    assert not bars
    shown.close()


def test_nothing_is_left_of_the_bar_that_is_made_ahead(session, bars, qtbot):
    made(session, qtbot).prepare()
    assert not bars


def test_the_spinner_of_the_window_is_held(qtbot):
    from napari.resources import LOADING_GIF_PATH

    window = QWidget()
    qtbot.addWidget(window)
    movie, label = QMovie(LOADING_GIF_PATH), QLabel(window)
    label.setMovie(movie)
    movie.start()
    assert movie.state() is QMovie.MovieState.Running
    hold_spinner(window)
    assert movie.state() is QMovie.MovieState.Paused
