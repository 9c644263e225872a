"""Pausing a run and going on, and the timesteps that have a name."""

import threading
import time

import pytest
from qtpy.QtWidgets import QWidget

from napari_diffseg.plugin.background.mailbox import Ending
from napari_diffseg.plugin.session.session import Session
from napari_diffseg.plugin.session.task import Phase
from napari_diffseg.plugin.widgets.run_box import RunBox
from napari_diffseg.plugin.widgets.settings_box import SettingsBox
from napari_diffseg.recipe import Recipe
from plugin_fakes import JOB_THREAD, MODALITIES, FakeLoader, record, run_in_thread


def poll_until(session, condition, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "nothing happened in time"
        session.poll()
        time.sleep(0.005)


@pytest.fixture
def running(segmenter, layers, tmp_path):
    """A session in the middle of a run of three members of one slice."""
    segmenter.pause, segmenter.steps = 0.01, 40
    session = Session(launch=run_in_thread, load_engine=FakeLoader(segmenter), runs_folder=tmp_path / "runs")
    session.choose_checkpoint("demo")
    poll_until(session, lambda: session.phase is Phase.IDLE)
    for name in MODALITIES:
        session.assign(name, layers[name])
    session.set_value("members", 3)
    session.set_value("slices", "2:3")
    heard = record(session)
    session.start()
    poll_until(session, lambda: len(heard["progress"]) >= 2)
    yield session, heard
    session.close()
    for thread in threading.enumerate():
        if thread.name == JOB_THREAD:
            thread.join(2)


def done(session, heard):
    """Evaluations done, once the worker has come to rest."""
    for _ in range(20):
        session.poll()
        time.sleep(0.01)
    return heard["progress"][-1][0]


def test_a_paused_run_makes_no_step_and_then_goes_on_to_the_same_end(running, segmenter):
    session, heard = running
    session.pause()
    assert session.phase is Phase.PAUSED
    assert session.why_not_run() == "A run is paused: resume it, or cancel it."
    at_rest = done(session, heard)
    assert at_rest < 120
    assert done(session, heard) == at_rest
    session.resume()
    poll_until(session, lambda: session.phase is Phase.IDLE)
    assert heard["run_ended"] == [Ending.DONE]
    assert len(segmenter.seen) == 1
    assert (session.runs.on_screen.plan.folder / "members" / "member-003.nii.gz").exists()


def test_a_paused_run_can_be_cancelled(running, segmenter):
    session, heard = running
    session.pause()
    session.cancel()
    poll_until(session, lambda: session.phase is Phase.IDLE)
    assert heard["run_ended"] == [Ending.CANCELLED]
    assert segmenter.closed == 1


def test_closing_ends_a_paused_run(running, segmenter):
    session, _ = running
    session.pause()
    session.close()
    deadline = time.monotonic() + 5
    while not segmenter.closed:
        assert time.monotonic() < deadline, "the engine was not closed"
        time.sleep(0.005)


def test_where_nothing_runs_there_is_nothing_to_pause(session):
    session.pause()
    session.resume()
    assert session.phase is Phase.IDLE


@pytest.mark.parametrize(
    ("phase", "visible"),
    [(Phase.IDLE, "run"), (Phase.WORKING, "run"), (Phase.RUNNING, "pause"), (Phase.PAUSED, "resume")],
)
def test_one_of_run_pause_and_resume_is_offered(qtbot, phase, visible):
    box = RunBox()
    qtbot.addWidget(box)
    box.show_ready(True)
    box.show_phase(phase)
    assert [n for n in ("run", "pause", "resume") if not getattr(box, n).isHidden()] == [visible]


def test_presets_set_the_timesteps_as_far_as_the_checkpoint_has_them(qtbot):
    box = SettingsBox()
    qtbot.addWidget(box)
    box.follow(Recipe(modalities=("t1",), train_timesteps=1000, timesteps=50))
    for timesteps in (1, 10, 1000):
        box.findChild(QWidget, f"diffseg_preset_{timesteps}").click()
        assert box.controls["timesteps"].value() == timesteps
    box.follow(Recipe(modalities=("t1",), train_timesteps=8, timesteps=4))
    assert box.findChild(QWidget, "diffseg_preset_1").isEnabled()
    assert not box.findChild(QWidget, "diffseg_preset_10").isEnabled()
