"""The newcomer's path, clicked in a real viewer: from the menu to the exported mask of the shipped case."""

import importlib
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from napari_diffseg.imaging.demo_case import demo_case_folder
from napari_diffseg.plugin.background.worker import launch
from napari_diffseg.plugin.session.session import Session
from napari_diffseg.plugin.widgets.case_box import CaseBox
from napari_diffseg.plugin.widgets.checkpoint_box import CheckpointBox
from plugin_fakes import FakeLoader, fake_member

ROOT = Path(__file__).parents[2]


@pytest.fixture
def steps(monkeypatch):
    """The script that takes the pictures of the page."""
    monkeypatch.syspath_prepend(ROOT / "scripts")
    yield importlib.import_module("first_steps")
    for name in ("first_steps", "clicking"):  # other tests may have scripts of these names
        sys.modules.pop(name, None)


@pytest.fixture
def home(tmp_path, monkeypatch):
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setattr(Path, "home", classmethod(lambda cls: folder))
    return folder


@pytest.mark.slow
def test_six_clicks_lead_from_an_empty_viewer_to_the_samples_mask(
    viewer, steps, home, segmenter, tmp_path, monkeypatch
):
    segmenter.steps = 1
    session = Session(launch=launch, load_engine=FakeLoader(segmenter), runs_folder=tmp_path / "runs")
    monkeypatch.setattr("napari_diffseg.plugin.panel.panel._new_session", lambda: session)
    seen = []
    walk = steps.FirstSteps(viewer, seen.append, seconds=120)
    walk.go()
    assert walk.clicks == 6
    assert seen == ["panel", "sample", "running", "done", "export", "exported"]
    source = nib.load(next(demo_case_folder().glob("*_t1.nii.gz")))
    made = nib.load(home / "phantom_glioma_mask.nii.gz")
    np.testing.assert_allclose(made.affine, source.affine, atol=1e-5)
    votes = np.sum([fake_member(source.shape, k) for k in range(5)], axis=0)
    np.testing.assert_array_equal(np.asanyarray(made.dataobj), votes > 2.5)
    session.close()


def test_the_sample_brings_its_checkpoint_only_where_none_is_chosen(qtbot):
    box = CheckpointBox()
    qtbot.addWidget(box)
    heard = []
    box.chosen.connect(heard.append)
    box.choose_if_none("demo")
    box.choose("mine.safetensors")
    box.choose_if_none("demo")
    assert heard == ["demo", "mine.safetensors"]
    assert box.line.text() == "mine.safetensors"


def test_the_case_box_offers_the_sample(qtbot, session):
    box = CaseBox(session.store)
    qtbot.addWidget(box)
    with qtbot.waitSignal(box.sample_asked, timeout=1000):
        next(b for b in box.buttons.children() if b.objectName() == "diffseg_open_sample").click()
