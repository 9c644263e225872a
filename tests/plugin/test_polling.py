"""How soon the window looks again, by a clock that only the test moves."""

import pytest
from qtpy.QtCore import QTimer

from napari_diffseg.plugin.panel import polling
from napari_diffseg.plugin.panel.polling import Polling


class Clock:
    def __init__(self):
        self.now = 100.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(polling, "time", made)
    return made


def looks(qtbot, clock, *, cost_s=0.0, late_s=0.0, excused_s=0.0, during=lambda polling: None):
    """Start polling, let one look happen, and give the timer."""
    owner = QTimer()
    made = Polling(lambda: (setattr(clock, "now", clock.now + cost_s), during(made)), owner)
    made.start()
    timer = made.findChild(QTimer)
    timer.stop()
    clock.now += timer.interval() / 1000 + late_s
    made.excuse(excused_s)
    timer.timeout.emit()
    timer.owner = owner
    return timer


@pytest.mark.parametrize(
    ("seconds", "next_ms"),
    [
        ({"cost_s": 0.0001}, 15),
        ({"cost_s": 0.01}, 66),
        ({"cost_s": 0.1}, 300),
        ({"cost_s": 0.01, "late_s": 0.1}, 330),
        ({"cost_s": 0.01, "late_s": 0.1, "excused_s": 0.1}, 66),
        ({"late_s": 0.1}, 15),
        ({"cost_s": 2.0}, 500),
    ],
    ids=[
        "nothing",
        "a preview",
        "a slow look",
        "a preview after slow painting",
        "a preview after a layer was added",
        "nothing in a busy window",
        "a very slow look",
    ],
)
def test_the_next_look_comes_as_soon_as_the_last_one_was_cheap(qtbot, clock, seconds, next_ms):
    timer = looks(qtbot, clock, **seconds)
    assert timer.isActive()
    assert timer.interval() == next_ms


def test_what_is_excused_during_a_look_does_not_put_off_the_next(qtbot, clock):
    def prepare(made):
        with made.excused():
            clock.now += 0.2

    assert looks(qtbot, clock, during=prepare).interval() == 15


def test_a_look_in_which_all_ends_is_the_last(qtbot, clock):
    assert not looks(qtbot, clock, during=lambda made: made.stop()).isActive()
