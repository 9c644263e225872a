"""Samples that are drawn when asked for: in another thread, and for the window that asked."""

import re
import threading

import pytest
from napari.components import ViewerModel
from napari.utils.notifications import notification_manager
from qtpy.QtCore import QTimer

from napari_diffseg.errors import BadCase
from napari_diffseg.plugin import samples
from napari_diffseg.plugin.drawing import Drawing
from napari_diffseg.plugin.opening import PLUGIN
from plugin_fakes import MODALITIES

_PATIENCE = 30_000
NAMES = [f"phantom_lowgrade {what}" for what in (*MODALITIES, "seg")]


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(samples, "_SHAPE", (24, 24, 16))
    monkeypatch.setattr(samples, "_SPACING_MM", (8.0, 8.0, 8.0))


@pytest.fixture
def said():
    """What napari has told the user."""
    heard = []

    def hear(notification):
        heard.append((str(notification.severity), notification.message))

    notification_manager.notification_ready.connect(hear)
    yield heard
    notification_manager.notification_ready.disconnect(hear)


@pytest.fixture
def gate(monkeypatch):
    """Drawing waits until this is set; `gate.thread` is the thread in which it draws."""
    may_go, draw = threading.Event(), samples.drawn_sample

    def wait_and_draw(kind):
        may_go.thread = threading.current_thread()
        assert may_go.wait(_PATIENCE / 1000)
        return draw(kind)

    monkeypatch.setattr(samples, "drawn_sample", wait_and_draw)
    yield may_go
    may_go.set()


def names(viewer):
    return [layer.name for layer in viewer.layers]


def drawings(viewer):
    return viewer.window._qt_window.findChildren(Drawing)


def test_a_sample_is_drawn_in_another_thread_and_the_window_goes_on(registered, viewer, qtbot, gate, said):
    assert viewer.open_sample(PLUGIN, "drawn_lowgrade") == []
    assert said == [("info", "Drawing the sample…")]
    qtbot.waitUntil(lambda: hasattr(gate, "thread"), timeout=_PATIENCE)
    assert gate.thread is not threading.main_thread()
    assert names(viewer) == []
    gate.set()
    qtbot.waitUntil(lambda: names(viewer) == NAMES, timeout=_PATIENCE)
    assert [layer.visible for layer in viewer.layers] == [False, False, False, True, False]
    qtbot.waitUntil(lambda: not drawings(viewer), timeout=_PATIENCE)
    assert len(said) == 1


def test_the_layers_of_a_drawn_sample_come_in_turns_of_their_own(registered, viewer, qtbot):
    turns, came = [0], []
    clock = QTimer()
    clock.timeout.connect(lambda: turns.append(turns[-1] + 1))
    clock.start(0)
    viewer.layers.events.inserted.connect(lambda _event: came.append(turns[-1]))
    viewer.open_sample(PLUGIN, "drawn_lowgrade")
    qtbot.waitUntil(lambda: names(viewer) == NAMES, timeout=_PATIENCE)
    clock.stop()
    assert len(came) == len(set(came)) == 5


def test_a_sample_comes_into_the_window_that_asked_for_it(registered, make_napari_viewer, screen, qtbot, gate):
    asked = make_napari_viewer(show=True)
    asked.open_sample(PLUGIN, "drawn_lowgrade")
    other = make_napari_viewer(show=True)
    gate.set()
    qtbot.waitUntil(lambda: names(asked) == NAMES, timeout=_PATIENCE)
    assert names(other) == []


@pytest.mark.parametrize("show", [True, False])
def test_a_window_that_is_closed_meanwhile_gets_nothing(
    registered, make_napari_viewer, screen, qtbot, gate, said, show
):
    from superqt.utils import WorkerBase

    other = make_napari_viewer(show=True)
    asked = make_napari_viewer(show=show)
    asked.open_sample(PLUGIN, "drawn_lowgrade")
    qtbot.waitUntil(lambda: hasattr(gate, "thread"), timeout=_PATIENCE)
    asked.close()
    gate.set()
    WorkerBase.await_workers(_PATIENCE)
    qtbot.wait(300)
    assert names(asked) == names(other) == []
    assert len(said) == 1


def test_a_window_that_is_closed_while_layers_come_gets_no_more(registered, make_napari_viewer, screen, qtbot, said):
    asked = make_napari_viewer(show=True)
    asked.open_sample(PLUGIN, "drawn_lowgrade")
    qtbot.waitUntil(lambda: len(asked.layers) > 0, timeout=_PATIENCE)
    asked.close()
    qtbot.wait(500)
    assert names(asked) == []
    assert len(said) == 1


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (BadCase("The template is missing: reinstall napari-diffseg."), "The template is missing: reinstall"),
        (MemoryError(), r"Unexpected error \(MemoryError\)"),
    ],
)
def test_what_goes_wrong_while_drawing_is_said_in_a_sentence(
    registered, viewer, qtbot, monkeypatch, said, error, sentence
):
    def fail(_kind):
        raise error

    monkeypatch.setattr(samples, "drawn_sample", fail)
    viewer.open_sample(PLUGIN, "drawn_sclerosis")
    qtbot.waitUntil(lambda: len(said) == 2, timeout=_PATIENCE)
    severity, text = said[-1]
    assert severity == "error"
    assert re.match(sentence, text)
    assert names(viewer) == []
    qtbot.waitUntil(lambda: not drawings(viewer), timeout=_PATIENCE)


def test_without_a_window_a_sample_is_drawn_at_once(registered, qapp):
    viewer = ViewerModel()
    viewer.open_sample(PLUGIN, "drawn_lowgrade")
    assert names(viewer) == NAMES
