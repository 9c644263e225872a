"""What the screen gets of what the worker leaves."""

import threading

import numpy as np
import pytest

from napari_diffseg.errors import BadImage
from napari_diffseg.events import Preview, Stepped
from napari_diffseg.plugin.background.job import Stopped, run_guarded
from napari_diffseg.plugin.background.mailbox import Ended, Ending, Mailbox, StatusMessage
from napari_diffseg.plugin.session.jobs import export_job
from napari_diffseg.reporting import ReportChoice
from napari_diffseg.runs.export import ExportChoice
from stored_runs import write_run


def step(done, *, preview=False):
    image = np.zeros((2, 2), np.float32)
    return Stepped("run1", 0, 1, 0, done, Preview(0, 0, image, image) if preview else None)


def end_of(job):
    mailbox = Mailbox()
    run_guarded(job, mailbox, threading.Event())
    return mailbox.take_items()[-1]


def test_only_the_newest_step_is_kept_and_only_once():
    mailbox = Mailbox()
    for done in range(1000):
        mailbox.put(step(done))
    assert mailbox.take_step().done == 999
    assert mailbox.take_step() is None


def test_the_newest_preview_outlives_steps_without_one():
    mailbox = Mailbox()
    for item in (step(1, preview=True), step(2, preview=True), step(3)):
        mailbox.put(item)
    assert mailbox.take_preview().done == 2
    assert mailbox.take_step().done == 3


def test_everything_else_comes_in_its_order():
    mailbox = Mailbox()
    mailbox.put(StatusMessage("one"))
    mailbox.put(step(1))
    mailbox.put(StatusMessage("two"))
    assert mailbox.take_items() == [StatusMessage("one"), StatusMessage("two")]
    assert mailbox.take_items() == []


def test_a_job_ends_with_its_result():
    assert end_of(lambda mailbox, stop: 42) == Ended(Ending.DONE, result=42)


@pytest.mark.parametrize(
    ("error", "ending", "text"),
    [
        (BadImage("t1.nii: cut short."), Ending.FAILED, "t1.nii: cut short."),
        (
            RuntimeError("mat1 and mat2\nsecond line"),
            Ending.FAILED,
            "Unexpected error (RuntimeError: mat1 and mat2): what is finished is kept; please report it with the log.",
        ),
        (
            KeyError(),
            Ending.FAILED,
            "Unexpected error (KeyError): what is finished is kept; please report it with the log.",
        ),
        (Stopped(), Ending.CANCELLED, ""),
    ],
)
def test_no_exception_leaves_a_job_raw(error, ending, text):
    def job(mailbox, stop):
        raise error

    ended = end_of(job)
    assert (ended.ending, ended.text) == (ending, text)


@pytest.fixture
def run(tmp_path):
    write_run(tmp_path / "run")
    return tmp_path / "run"


def test_an_export_says_how_far_it_is(run, tmp_path):
    mailbox = Mailbox()
    run_guarded(export_job(run, tmp_path / "out", ExportChoice(what=("mask",))), mailbox, threading.Event())
    assert mailbox.take_items() == [
        StatusMessage("Reading the run…"),
        StatusMessage("Exporting: 1 of 2 files…"),
        StatusMessage("Exporting: 2 of 2 files…"),
        Ended(Ending.DONE, result=tmp_path / "out"),
    ]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["case_1_mask.nii.gz", "case_1_run.json"]


def test_an_export_counts_its_page(run, tmp_path):
    mailbox, out = Mailbox(), tmp_path / "out"
    run_guarded(export_job(run, out, ExportChoice(what=("mask",)), also=ReportChoice()), mailbox, threading.Event())
    assert StatusMessage("Exporting: 3 of 3 files…") in mailbox.take_items()
    assert (out / "case_1_report.html").exists()


def test_an_export_never_overwrites_unasked(run, tmp_path):
    mine = tmp_path / "out" / "case_1_mask.nii.gz"
    mine.parent.mkdir()
    mine.write_text("mine")
    assert end_of(export_job(run, mine.parent, ExportChoice())).error == "OutputExists"
    assert mine.read_text() == "mine"
    assert end_of(export_job(run, mine.parent, ExportChoice(overwrite=True))).ending is Ending.DONE
    assert mine.read_bytes() != b"mine"


def test_an_export_stops_when_asked_to(run, tmp_path):
    mailbox, stop = Mailbox(), threading.Event()
    stop.set()
    run_guarded(export_job(run, tmp_path / "out", ExportChoice()), mailbox, stop)
    assert mailbox.take_items()[-1].ending is Ending.CANCELLED
    assert not (tmp_path / "out").exists()
