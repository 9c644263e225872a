"""The images of a case on their way into the viewer."""

import pytest
from napari.components import ViewerModel
from napari.layers import Layer

from napari_diffseg.plugin.case_layers import CaseLayers
from napari_diffseg.plugin.mailbox import Brought
from napari_diffseg.plugin.reader import read_layers
from plugin_fakes import MODALITIES, write_images


@pytest.fixture
def viewer():
    return ViewerModel()


def bring(layers, folder, **how):
    for data in read_layers(str(folder)):
        layers.add(Brought(Layer.create(*data), **how))


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
    layers.take()
    bring(layers, case_folder, unless_open=True)
    assert layers.take() == []
    bring(layers, write_images(tmp_path / "elsewhere"), unless_open=True)  # other files of the same names
    assert len(layers.take()) == len(MODALITIES)
    bring(layers, case_folder)
    assert len(layers.take()) == len(MODALITIES)
