"""The session, driven without a screen: what it asks for, how it runs, stops, fails and stays usable."""

import json
import threading
import time

import nibabel as nib
import numpy as np
import pytest

from napari_diffseg.errors import BadCase, BadRequest, RunFailed
from napari_diffseg.events import Finished, Sampled, Stepped
from napari_diffseg.plugin.background.mailbox import Ending, Mailbox
from napari_diffseg.plugin.session.progress import seconds_left
from napari_diffseg.plugin.session.session import Session
from napari_diffseg.plugin.session.task import Phase
from plugin_fakes import JOB_THREAD, MODALITIES, SHAPE, FakeLoader, fake_member, ready, record, run_in_thread


def poll_until(session, condition, seconds=5.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "nothing happened in time"
        session.poll()
        time.sleep(0.005)


def test_it_asks_for_what_is_missing_in_order(session, layers):
    assert session.why_not_run() == "Choose a checkpoint, or Demo for the shipped one."
    session.choose_checkpoint("demo")
    assert session.why_not_run() == "The checkpoint is being loaded: wait for it, or cancel it."
    session.poll()
    assert session.why_not_run() == "Choose an image for t1, t1ce, t2, flair."
    for name in MODALITIES[:3]:
        session.assign(name, layers[name])
    assert session.why_not_run() == "Choose an image for flair."
    session.assign("flair", layers["t1"])
    assert session.why_not_run().startswith("t1 and flair are the same layer")
    session.assign("flair", layers["flair"])
    assert session.why_not_run() is None


def test_a_refused_checkpoint_is_the_reason_until_another_is_chosen(session):
    heard = record(session)
    session.choose_checkpoint("bad")
    session.poll()
    assert session.why_not_run() == "bad: this is a picture, not a checkpoint: choose another file."
    assert heard["failed"] == [(session.why_not_run(), "BadCheckpoint")]
    session.choose_checkpoint("demo")
    session.poll()
    assert session.why_not_run() == "Choose an image for t1, t1ce, t2, flair."


def test_a_failed_case_says_nothing_against_the_checkpoint(session, tmp_path):
    session.open_case([str(tmp_path / "absent.nii")])
    session.poll()
    assert session.why_not_run() == "Choose a checkpoint, or Demo for the shipped one."


def test_a_case_opened_while_a_checkpoint_loads_waits_for_it(session, case_folder):
    heard = []
    session.brought.connect(lambda brought: heard.append(brought.layer.name))
    session.case_read.connect(lambda: heard.append("all"))
    session.choose_checkpoint("demo")
    session.open_case([str(case_folder)])
    session.poll()
    assert session.checkpoint_rows[0] == ("Title", "Fake")
    names = [f"case_1 {m}" for m in MODALITIES]
    for count in range(1, 5):
        session.poll()
        assert heard == names[:count]  # one in each turn of the window
    session.poll()
    assert heard == [*names, "all"]
    assert session.phase is Phase.IDLE


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("timesteps", 9, "Timesteps 9 exceed the 8"),
        ("slices", "9:", "hold none of the volume's 5"),
        ("seed", -1, "seed"),
    ],
)
def test_impossible_settings_are_a_reason(session, layers, name, value, reason):
    ready(session, layers)
    session.set_value(name, value)
    assert reason in session.why_not_run()
    with pytest.raises(BadRequest):
        session.start()


def test_images_on_two_grids_are_a_reason_with_both_grids(session, layers, tmp_path):
    ready(session, layers)
    layers["t2"].scale = (-2.0, 1.0, 1.0)
    assert session.why_not_run() == (
        "t2 is 14 x 12 x 5 voxels of 1.00 x 1.00 x 2.00 mm, LPS, but t1 is 14 x 12 x 5 voxels of 1.00 x 1.00 x 1.00 mm,"
        " LPS: the images of a case must share one grid; resample them first."
    )
    with pytest.raises(BadCase):
        session.start()


def test_a_run_to_the_end_leaves_exact_files_on_the_sources_voxels(session, layers, case_folder):
    heard = record(ready(session, layers, members=3))
    session.start()
    session.poll()
    assert heard["run_ended"] == [Ending.DONE]
    assert heard["phase_changed"] == [Phase.RUNNING, Phase.IDLE]
    folder = session.runs.on_screen.plan.folder
    stack = np.stack([fake_member(SHAPE, k) for k in range(3)])
    source = nib.load(case_folder / "case_1_t1.nii.gz")
    for name, expected in [
        ("mask", stack.mean(0) > 0.5),
        ("mean", stack.mean(0)),
        ("uncertainty", stack.var(0, ddof=1)),
        ("members/member-002", stack[1]),
    ]:
        image = nib.load(folder / f"{name}.nii.gz")
        np.testing.assert_allclose(np.asanyarray(image.dataobj), expected, atol=1e-6)
        np.testing.assert_array_equal(image.affine, source.affine)
        assert image.header["sform_code"] == source.header["sform_code"]
    assert json.loads((folder / "run.json").read_text())["status"] == "complete"


def test_two_runs_of_a_case_have_folders_of_their_own(session, layers):
    ready(session, layers, members=1)
    folders = []
    for _ in range(2):
        session.start()
        session.poll()
        folders.append(session.runs.on_screen.plan.folder)
    assert folders[0] != folders[1]
    assert all((f / "mask.nii.gz").exists() for f in folders)


def test_the_slice_on_screen_is_the_focus_whatever_the_axes(session, layers, segmenter):
    ready(session, layers, members=1)
    shown = layers["t1"].data_to_world((1, 0, 0))
    session.start(point=(7.0, *shown))
    assert segmenter.seen[0].focus == 1
    session.poll()
    session.start()
    assert segmenter.seen[1].focus is None


def test_the_network_gets_the_layers_in_the_recipes_order(session, layers, segmenter):
    ready(session, layers, members=1)
    session.start()
    assert tuple(segmenter.cases[0].volumes) == MODALITIES
    for n, volume in enumerate(segmenter.cases[0].volumes.values()):
        assert volume.data[0, 0, 1] == 1 + 10 * n


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (RunFailed("Memory ran out: choose fewer."), "Memory ran out: choose fewer."),
        (
            RuntimeError("CUDA error"),
            "Unexpected error (RuntimeError: CUDA error): what is finished is kept; please report it with the log.",
        ),
    ],
)
def test_a_failure_inside_is_one_sentence_and_the_next_run_works(session, layers, segmenter, error, sentence):
    heard = record(ready(session, layers, members=2))
    segmenter.fail_at, segmenter.error = 3, error
    session.start()
    session.poll()
    assert heard["failed"] == [(sentence, type(error).__name__)]
    assert heard["run_ended"] == [Ending.FAILED]
    segmenter.fail_at = None
    session.start()
    session.poll()
    assert heard["run_ended"] == [Ending.FAILED, Ending.DONE]


@pytest.fixture
def slow_session(segmenter, tmp_path):
    segmenter.pause = 0.005
    made = Session(launch=run_in_thread, load_engine=FakeLoader(segmenter), runs_folder=tmp_path / "runs")
    yield made
    made.close()
    for thread in threading.enumerate():
        if thread.name == JOB_THREAD:
            thread.join(0.5)


def ready_slowly(session, layers, **values):
    session.choose_checkpoint("demo")
    poll_until(session, lambda: session.phase is Phase.IDLE)
    for name in MODALITIES:
        session.assign(name, layers[name])
    for name, value in values.items():
        session.set_value(name, value)


def test_cancelling_keeps_finished_members_and_closes_the_engine(slow_session, layers, segmenter):
    session = slow_session
    ready_slowly(session, layers, members=500, slices="2:3")
    heard = record(session)
    session.start()
    poll_until(session, lambda: len(heard["sampled"]) >= 2)
    session.cancel()
    assert session.phase is Phase.CANCELLING
    assert session.why_not_run() == "The last run is stopping."
    poll_until(session, lambda: session.phase is Phase.IDLE)
    assert heard["run_ended"] == [Ending.CANCELLED]
    assert segmenter.closed == 1
    kept = json.loads((session.runs.on_screen.plan.folder / "run.json").read_text())
    assert kept["status"] == "running"
    assert len(kept["members"]) >= 2
    assert session.why_not_run() is None


def test_a_run_goes_on_with_the_slice_that_is_scrolled_to(slow_session, layers, segmenter):
    session = slow_session
    segmenter.pause = 0.05
    ready_slowly(session, layers, members=2)
    heard = record(session)
    session.look_at((0.0, 0.0, 0.0))  # nothing goes on yet
    session.start(layers["t1"].data_to_world((1, 0, 0)))
    poll_until(session, lambda: heard["sampled"])
    session.look_at(layers["t1"].data_to_world((4, 0, 0)))
    poll_until(session, lambda: session.phase is Phase.IDLE)
    slices = [s for event in heard["sampled"] for s in event.slices]
    assert slices[0] == 1
    assert 4 in slices[1:4]
    assert sorted(slices) == sorted([*range(5)] * 2)


def test_a_cancel_at_the_last_step_of_a_batch_keeps_its_masks(session, layers, monkeypatch):
    put, seen = Mailbox.put, []

    def put_and_cancel(mailbox, item):
        put(mailbox, item)
        seen.append(item)
        if isinstance(item, Stepped) and item.step + 1 == item.steps:
            session.cancel()

    monkeypatch.setattr(Mailbox, "put", put_and_cancel)
    ready(session, layers)
    session.set_value("members", 5)
    heard = record(session)
    session.start()
    session.poll()
    assert heard["run_ended"] == [Ending.CANCELLED]
    kinds = [type(item) for item in seen if isinstance(item, Stepped | Sampled)]
    assert kinds[-1] is Stepped, "the first step of the next batch is the last"
    assert Sampled in kinds[kinds.index(Stepped) :]
    assert len(heard["sampled"]) == kinds.count(Sampled) > 0


def test_a_cancel_after_the_last_member_comes_too_late(session, layers, monkeypatch):
    put = Mailbox.put

    def put_and_cancel(mailbox, item):
        put(mailbox, item)
        if isinstance(item, Finished):
            session.cancel()

    monkeypatch.setattr(Mailbox, "put", put_and_cancel)
    ready(session, layers)
    heard = record(session)
    session.start()
    session.poll()
    assert heard["run_ended"] == [Ending.DONE]


def test_run_pressed_twice_is_one_run(slow_session, layers, segmenter):
    ready_slowly(slow_session, layers, members=2, slices="2:3")
    slow_session.start()
    slow_session.start()
    poll_until(slow_session, lambda: slow_session.phase is Phase.IDLE)
    assert len(segmenter.seen) == 1


def test_what_is_chosen_during_a_run_counts_for_the_next(slow_session, layers, segmenter):
    ready_slowly(slow_session, layers, members=4, slices="2:3")
    slow_session.start()
    slow_session.set_value("members", 1)
    slow_session.assign("t1", None)
    heard = record(slow_session)
    poll_until(slow_session, lambda: slow_session.phase is Phase.IDLE)
    assert {event.member for event in heard["sampled"]} == {0, 1, 2, 3}
    assert slow_session.why_not_run() == "Choose an image for t1."


def test_after_closing_nothing_of_the_run_is_heard(slow_session, layers, segmenter):
    ready_slowly(slow_session, layers, members=500, slices="2:3")
    slow_session.start()
    poll_until(slow_session, lambda: bool(segmenter.seen))
    slow_session.close()
    heard = record(slow_session)
    deadline = time.monotonic() + 5
    while not segmenter.closed:
        assert time.monotonic() < deadline, "the engine was not closed"
        time.sleep(0.005)
    slow_session.poll()
    assert heard["sampled"] == []
    assert heard["run_ended"] == []


def test_the_time_left_follows_the_speed(segmenter):
    started = next(iter(_started(segmenter)))
    assert seconds_left((10.0, 20), (15.0, 30), started) == pytest.approx(0.5 * (started.evaluations - 30))
    assert seconds_left((10.0, 20), (10.0, 20), started) is None


def _started(segmenter):
    from types import SimpleNamespace

    from napari_diffseg.events import SegmentRequest

    return segmenter.segment(SimpleNamespace(id="c", shape=SHAPE), SegmentRequest(members=10))
