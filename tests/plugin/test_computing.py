"""Where runs are computed: the choice, its test, and a session whose engine is in another process."""

import sys
import time

import numpy as np
import pytest

from builders import write_tiny_checkpoint
from napari_diffseg.plugin.background.mailbox import Ending
from napari_diffseg.plugin.panel.remembered import Remembered
from napari_diffseg.plugin.session.session import Session
from napari_diffseg.plugin.session.task import Phase
from napari_diffseg.plugin.widgets.compute_box import HERE, PROCESS, SSH, ComputeBox, ComputeChoice
from napari_diffseg.remote.computer import Computer
from plugin_fakes import MODALITIES, run_here, run_in_thread


@pytest.fixture
def ssh(tmp_path, monkeypatch):
    """An `ssh` that does what a line of shell says."""

    def make(line):
        program = tmp_path / "bin" / "ssh"
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\n{line}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")

    return make


@pytest.fixture
def session(tmp_path):
    made = Session(launch=run_in_thread, runs_folder=tmp_path / "runs")
    made.told, made.tests = [], []
    made.failed.connect(lambda text, _kind: made.told.append(text))
    made.connection_tested.connect(made.tests.append)
    yield made
    made.close()


def wait(session, seconds=60):
    deadline = time.monotonic() + seconds
    while session.phase is not Phase.IDLE:
        assert time.monotonic() < deadline
        session.poll()
        time.sleep(0.01)


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in is a shell script")
def test_a_computer_that_cannot_be_had_is_one_sentence_and_here_still_works(ssh, session, tmp_path):
    ssh("echo 'ssh: Could not resolve hostname there: Name or service not known' >&2; exit 255")
    session.choose_computer(Computer("me@there"))
    session.choose_checkpoint(str(write_tiny_checkpoint(tmp_path / "tiny.safetensors")))
    wait(session)
    assert len(session.told) == 1
    assert "no computer of that name" in session.told[0]
    assert session.checkpoint_rows == ()
    session.choose_computer(None)
    wait(session)
    assert session.checkpoint_rows


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in is a shell script")
def test_waiting_for_a_computer_that_does_not_answer_can_be_cancelled(ssh, session, tmp_path):
    ssh("exec sleep 60")
    session.choose_computer(Computer("me@there"))
    session.choose_checkpoint(str(write_tiny_checkpoint(tmp_path / "tiny.safetensors")))
    time.sleep(0.2)
    began = time.monotonic()
    session.cancel()
    wait(session)
    assert time.monotonic() - began < 10
    assert session.told == []


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in is a shell script")
def test_a_test_of_a_connection_tells_why_it_fails(ssh, session):
    ssh("echo 'me@there: Permission denied (publickey).' >&2; exit 255")
    session.test_connection(Computer("me@there"))
    wait(session)
    assert len(session.tests) == 1
    assert "refuses the login" in session.tests[0]


@pytest.mark.slow
def test_a_test_of_another_process_tells_what_it_has(session):
    session.test_connection(Computer())
    wait(session)
    assert "answers in" in session.tests[0]
    assert "PyTorch" in session.tests[0]


@pytest.mark.slow
def test_a_run_in_another_process_has_the_masks_of_one_here(layers, tmp_path):
    checkpoint = write_tiny_checkpoint(tmp_path / "tiny.safetensors")
    masks = []
    for computer in (None, Computer()):
        session = Session(launch=run_here, runs_folder=tmp_path / "runs")
        sampled, ended, failed = [], [], []
        session.sampled.connect(sampled.extend)
        session.run_ended.connect(ended.append)
        session.failed.connect(lambda *told, failed=failed: failed.append(told))
        session.choose_computer(computer)
        session.choose_checkpoint(str(checkpoint))
        session.poll()
        for name in MODALITIES:
            session.assign(name, layers[name])
        session.set_value("members", 2)
        session.set_value("device", "cpu")
        session.start()
        session.poll()
        session.add_members(1)
        session.poll()
        assert failed == []
        assert ended == [Ending.DONE] * 2
        masks.append(np.stack([session.runs.on_screen.result.ensemble.member(k) for k in range(3)]))
        session.close()
    np.testing.assert_array_equal(*masks)
    assert masks[0].any()


def test_the_choice_is_told_once_it_is_whole_and_is_in_the_title(qtbot):
    box = ComputeBox()
    qtbot.addWidget(box)
    told = []
    box.chosen.connect(told.append)
    box.place.setCurrentIndex(box.place.findData(SSH))
    assert told == []
    assert not box.test.isEnabled()
    box.host.setText("me@there")
    box.host.editingFinished.emit()
    assert told == [ComputeChoice(SSH, "me@there")]
    assert "me@there" in box.text()
    assert box.test.isEnabled()
    box.outlive.setValue(2)
    assert told[-1].computer() == Computer("me@there", outlive_s=120)
    box.place.setCurrentIndex(box.place.findData(PROCESS))
    assert told[-1].computer() == Computer()
    box.place.setCurrentIndex(box.place.findData(HERE))
    assert told[-1].computer() is None


def test_the_choice_is_remembered_and_a_broken_one_is_here(tmp_path):
    choice = ComputeChoice(SSH, "me@there", "srun napari-diffseg", 3)
    Remembered(tmp_path / "panel.ini").remember_compute(choice)
    assert Remembered(tmp_path / "panel.ini").compute == choice
    Remembered(tmp_path / "panel.ini").remember_compute(ComputeChoice(SSH, "-oProxyCommand=ls"))
    assert Remembered(tmp_path / "panel.ini").compute == ComputeChoice()


def test_the_panel_offers_it_below_the_checkpoint(panel, qtbot):
    box = panel.computing.box
    assert box.isVisibleTo(panel.checkpoint)
    assert not box.host.isVisibleTo(panel)
    box.show_choice(ComputeChoice(PROCESS))  # this session's engines cannot be elsewhere, and it says so
    qtbot.waitUntil(lambda: "another computer" in panel.run_box.status.text().replace("\u200b", ""))
