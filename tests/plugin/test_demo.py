"""The demo on a virtual screen, with a fake engine: pictures, results, and failures as sentences."""

import threading
import time

import nibabel as nib
import numpy as np
import pytest

from napari_diffseg.errors import RunFailed
from napari_diffseg.plugin.background.worker import launch
from napari_diffseg.plugin.demo import screenshot_demo
from napari_diffseg.plugin.session.session import Session
from plugin_fakes import SHAPE, FakeLoader, fake_member


@pytest.fixture
def session(segmenter, tmp_path):
    return Session(launch=launch, load_engine=FakeLoader(segmenter), runs_folder=tmp_path / "runs")


@pytest.fixture
def drive(viewer, session, case_folder, tmp_path, monkeypatch):
    """Runs the demo in the test's viewer, which is checked for leaks."""
    monkeypatch.setattr("napari.Viewer", lambda **_: viewer)
    return lambda: screenshot_demo(tmp_path / "demo", session=session, case=case_folder)


@pytest.mark.slow
def test_it_leaves_pictures_and_results(drive):
    *pictures, results = drive()
    assert [p.name for p in pictures] == ["running.png", "window.png", "canvas.png"]
    assert all(p.read_bytes().startswith(b"\x89PNG") for p in pictures)
    mean = np.asanyarray(nib.load(results / "mean.nii.gz").dataobj)
    np.testing.assert_allclose(mean, np.mean([fake_member(SHAPE, k) for k in range(5)], axis=0), atol=1e-6)


@pytest.mark.slow
def test_layers_that_come_after_the_runs_end_are_waited_for(drive, monkeypatch):
    monkeypatch.setattr("napari_diffseg.plugin.panel.catching_up._LEAST_REST_MS", 400)
    *_, results = drive()
    assert (results / "mean.nii.gz").exists()


@pytest.mark.slow
def test_a_failure_is_its_sentence(drive, segmenter):
    segmenter.fail_at, segmenter.error = 0, RunFailed("The device was lost: restart.")
    with pytest.raises(RunFailed, match="The device was lost"):
        drive()


@pytest.mark.slow
def test_it_ends_after_what_still_works_in_a_thread(drive):
    stop, ended = threading.Event(), threading.Event()

    def measure():
        stop.wait()
        time.sleep(0.3)
        ended.set()

    launch(measure, stop)
    drive()
    assert ended.is_set()
