"""The session with the real engine and a network of a few weights: layers in, files out."""

import os

import nibabel as nib
import numpy as np
import pytest

from builders import write_tiny_checkpoint
from napari_diffseg.errors import BadCheckpoint
from napari_diffseg.plugin.background.mailbox import Ending
from napari_diffseg.plugin.session.engine import EngineCache
from napari_diffseg.plugin.session.session import Session
from plugin_fakes import MODALITIES, SHAPE, run_here


@pytest.fixture
def checkpoint(tmp_path):
    return write_tiny_checkpoint(tmp_path / "tiny.safetensors")


def test_a_checkpoint_is_loaded_once_until_its_file_changes(checkpoint):
    load = EngineCache()
    first = load(str(checkpoint), {})
    assert load(str(checkpoint), {}) is first
    assert load(str(checkpoint), {"title": "Other"}).checkpoint.recipe.title == "Other"
    again = load(str(checkpoint), {})
    write_tiny_checkpoint(checkpoint.with_name("new.safetensors"), seed=1)
    os.replace(checkpoint.with_name("new.safetensors"), checkpoint)
    assert load(str(checkpoint), {}).checkpoint.digest != again.checkpoint.digest


def test_a_checkpoint_that_is_gone_is_a_sentence(tmp_path):
    with pytest.raises(BadCheckpoint, match="absent"):
        EngineCache()(str(tmp_path / "absent.pt"), {})


def test_layers_are_segmented_and_the_members_are_on_disk(checkpoint, layers, tmp_path):
    session = Session(launch=run_here, runs_folder=tmp_path / "runs")
    ended, sampled, failed = [], [], []
    session.run_ended.connect(ended.append)
    session.sampled.connect(sampled.extend)
    session.failed.connect(lambda *told: failed.append(told))
    session.choose_checkpoint(str(checkpoint))
    session.poll()
    for name in MODALITIES:
        session.assign(name, layers[name])
    session.set_value("members", 2)
    session.set_value("device", "cpu")
    session.start()
    session.poll()
    assert failed == []
    assert ended == [Ending.DONE]
    masks = np.zeros((2, *SHAPE), np.bool_)
    for event in sampled:
        masks[event.member][..., list(event.slices)] = np.moveaxis(event.mask[0], 0, -1)
    assert masks.any()
    for k in range(2):
        saved = np.asanyarray(
            nib.load(session.runs.on_screen.plan.folder / "members" / f"member-{k + 1:03d}.nii.gz").dataobj
        )
        np.testing.assert_array_equal(saved, masks[k])
