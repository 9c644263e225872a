"""What the screen gets of what the worker leaves."""

import threading

import numpy as np
import pytest

from napari_diffseg.errors import BadImage
from napari_diffseg.events import Preview, Stepped
from napari_diffseg.plugin.jobs import Stopped, export_job, run_guarded
from napari_diffseg.plugin.mailbox import Ended, Ending, Mailbox, Told


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
    mailbox.put(Told("one"))
    mailbox.put(step(1))
    mailbox.put(Told("two"))
    assert mailbox.take_items() == [Told("one"), Told("two")]
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
def results(tmp_path):
    folder = tmp_path / "run"
    (folder / "members").mkdir(parents=True)
    (folder / "run.json").write_text("{}")
    (folder / "members" / "member-001.nii.gz").write_bytes(b"voxels")
    (folder / ".run.json.1.part").write_text("half")
    return folder


def test_an_export_is_a_copy_without_temporary_files(results, tmp_path):
    ended = end_of(export_job(results, tmp_path / "out" / "case", overwrite=False))
    assert ended == Ended(Ending.DONE, result=tmp_path / "out" / "case")
    names = sorted(p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*") if p.is_file())
    assert names == ["case/members/member-001.nii.gz", "case/run.json"]
    assert (tmp_path / "out/case/members/member-001.nii.gz").read_bytes() == b"voxels"


def test_an_export_never_overwrites_unasked(results, tmp_path):
    target = tmp_path / "out"
    target.mkdir()
    (target / "run.json").write_text("mine")
    ended = end_of(export_job(results, target, overwrite=False))
    assert ended.error == "OutputExists"
    assert (target / "run.json").read_text() == "mine"
    assert end_of(export_job(results, target, overwrite=True)).ending is Ending.DONE
    assert (target / "run.json").read_text() == "{}"
