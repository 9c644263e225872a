"""The images of a case on their way into the viewer."""

import threading

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Layer

from napari_diffseg.plugin.background.job import run_guarded
from napari_diffseg.plugin.background.mailbox import Ending, LayerReady, Mailbox
from napari_diffseg.plugin.files.reader import read_layers
from napari_diffseg.plugin.layers.case_layers import CaseLayers
from napari_diffseg.plugin.session.jobs import read_job
from plugin_fakes import MODALITIES, write_images


@pytest.fixture
def viewer():
    return ViewerModel()


def bring(layers, folder, **how):
    for data in read_layers(str(folder)):
        layers.add(LayerReady(Layer.create(*data), **how))


def test_the_layers_of_one_case_are_taken_together_and_once(viewer, case_folder):
    layers = CaseLayers(viewer)
    bring(layers, case_folder)
    taken = layers.take()
    assert [layer.name for layer in taken] == [f"case_1 {m}" for m in MODALITIES]
    assert taken == list(viewer.layers)
    assert layers.take() == []


def test_an_image_that_is_open_is_not_opened_again_where_that_is_enough(viewer, case_folder, tmp_path):
    layers = CaseLayers(viewer)
    bring(layers, case_folder)
    opened = layers.take()
    bring(layers, case_folder, unless_open=True)
    assert list(viewer.layers) == opened
    assert layers.take() == opened  # they are the case all the same
    bring(layers, write_images(tmp_path / "elsewhere"), unless_open=True)  # other files of the same names
    assert len(layers.take()) == len(MODALITIES)
    bring(layers, case_folder)
    assert len(layers.take()) == len(MODALITIES)


def test_where_one_image_cannot_be_shown_none_comes(case_folder, monkeypatch):
    read = [*read_layers(str(case_folder))[:2], (np.ones((2, 2, 2)), {"name": "spoiled", "scale": "none"}, "image")]
    monkeypatch.setattr("napari_diffseg.plugin.files.reader.read_layers", lambda _: read)
    mailbox = Mailbox()
    run_guarded(read_job([str(case_folder)], modalities=MODALITIES), mailbox, threading.Event())
    items = [*mailbox.take_items(), *mailbox.take_items()]
    assert not [item for item in items if isinstance(item, LayerReady)]
    assert items[-1].ending is Ending.FAILED
