"""A run in napari's activity dock."""

from pathlib import Path

import pytest
from napari.resources import LOADING_GIF_PATH
from napari.utils import progress
from qtpy.QtGui import QMovie
from qtpy.QtWidgets import QApplication, QLabel, QWidget

from napari_diffseg.plugin.panel import activity
from napari_diffseg.plugin.panel.activity import Activity
from napari_diffseg.plugin.session.task import Phase
from plugin_fakes import ready


@pytest.fixture
def came(qapp):
    """Every bar that has come, gone ones too; each is taken for one that napari shows, so that none is printed."""
    seen = []

    def take(event):
        for bar in event.added:
            bar.gui = True
            seen.append(bar)

    progress._all_instances.events.changed.connect(take)
    yield seen
    progress._all_instances.events.changed.disconnect(take)
    for bar in seen:
        bar.close()  # those of a test that failed


@pytest.fixture
def bars(monkeypatch, came):
    """The bars that there are."""
    monkeypatch.setattr(activity, "_BETWEEN_MS", 0)
    monkeypatch.setattr(activity, "_AFTER_SECONDS", 0.0)
    return progress._all_instances


@pytest.fixture
def meanwhile():
    """What happens, once, while napari makes a bar, which is when it lets everything else happen."""
    actions = []

    def act(event):
        while event.added and actions:
            actions.pop()()

    progress._all_instances.events.changed.connect(act)
    yield actions
    progress._all_instances.events.changed.disconnect(act)


def made(session, qtbot):
    widget = QWidget()
    qtbot.addWidget(widget)
    shown = Activity(session, widget)
    shown.panel = widget  # which nobody else holds
    return shown


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
    assert session.runs.on_screen is not None
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


def test_nothing_is_left_of_the_bar_that_is_made_ahead(session, bars, came, qtbot):
    made(session, qtbot).prepare()
    assert len(came) == 1
    assert not bars


def test_a_run_that_ends_while_its_bar_is_made_leaves_none(session, bars, came, meanwhile, qtbot):
    shown = made(session, qtbot)
    meanwhile.append(lambda: session.phase_changed.emit(Phase.IDLE))
    session.progress.emit(1, 8, None)
    qtbot.waitUntil(lambda: len(came) == 1)
    assert not bars
    shown.close()


def test_a_run_that_begins_while_the_last_ones_bar_is_made_gets_its_own(session, bars, came, meanwhile, qtbot):
    def next_run():
        session.phase_changed.emit(Phase.IDLE)
        session.progress.emit(0, 6, None)

    shown = made(session, qtbot)
    meanwhile.append(next_run)
    session.progress.emit(1, 8, None)
    qtbot.waitUntil(lambda: len(came) == 2)
    assert [bar.total for bar in bars] == [6]
    shown.close()


def test_what_is_told_while_a_bar_is_made_makes_no_other(session, bars, came, meanwhile, qtbot):
    shown = made(session, qtbot)

    def tell():
        session.progress.emit(2, 8, None)
        QApplication.processEvents()

    meanwhile.append(tell)
    session.progress.emit(1, 8, None)
    qtbot.waitUntil(lambda: len(came) == 1)
    qtbot.wait(50)
    assert [(bar.total, bar.n) for bar in bars] == [(8, 2)]
    assert len(came) == 1
    shown.close()


def test_a_run_that_begins_while_a_bar_is_made_ahead_has_its_own(session, bars, came, meanwhile, qtbot):
    shown = made(session, qtbot)

    def begin():
        session.progress.emit(1, 8, None)
        QApplication.processEvents()

    meanwhile.append(begin)
    shown.prepare()
    session.progress.emit(2, 8, None)
    qtbot.waitUntil(lambda: len(came) == 2)
    qtbot.waitUntil(lambda: [(bar.total, bar.n) for bar in bars] == [(8, 2)])
    shown.close()


def turning(path, qtbot):
    """A label in a window of its own with a movie that goes on."""
    window = QWidget()
    qtbot.addWidget(window)
    label = QLabel(window)
    movie = QMovie(str(path), parent=label)
    movie.window = window  # which nobody else holds
    label.setMovie(movie)
    movie.start()
    assert movie.state() is QMovie.MovieState.Running
    return movie


def test_the_spinners_of_all_windows_are_held_and_nobody_elses_movie(session, bars, qtbot, tmp_path):
    theirs = tmp_path / "theirs.gif"
    theirs.write_bytes(Path(LOADING_GIF_PATH).read_bytes())
    movies = [turning(path, qtbot) for path in (LOADING_GIF_PATH, LOADING_GIF_PATH, theirs)]
    shown = made(session, qtbot)
    session.progress.emit(1, 8, None)
    qtbot.waitUntil(lambda: len(bars) == 1)
    states = [movie.state() for movie in movies]
    paused, running = QMovie.MovieState.Paused, QMovie.MovieState.Running
    assert states == [paused, paused, running]
    shown.close()


def test_the_spinners_of_real_windows_are_held(session, bars, make_napari_viewer, screen, qtbot):
    viewers = [make_napari_viewer(show=True) for _ in range(2)]
    shown = made(session, qtbot)
    session.progress.emit(1, 8, None)
    qtbot.waitUntil(lambda: len(bars) == 1)
    labels = [label for viewer in viewers for label in viewer.window._qt_window.findChildren(QLabel) if label.movie()]
    assert [label.movie().state() for label in labels] == [QMovie.MovieState.Paused] * 2
    shown.close()
