"""Images of one case move together, until somebody unlinks them."""

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.experimental import unlink_layers
from napari.layers import Image, Layer

from napari_diffseg.plugin.frame import RESULT_KEY
from napari_diffseg.plugin.linking import Linking
from napari_diffseg.plugin.reader import read_layers
from plugin_fakes import write_images


@pytest.fixture
def viewer(case_folder):
    made = ViewerModel()
    for data in read_layers(str(case_folder)):
        made.add_layer(Layer.create(*data))
    return made


def test_who_moves_one_image_moves_all_and_leaves_their_contrast(viewer):
    Linking().follow(viewer.layers)
    limits = [layer.contrast_limits for layer in viewer.layers]
    viewer.layers[1].translate = (7, 8, 9)
    assert [tuple(layer.translate) for layer in viewer.layers] == [(7, 8, 9)] * 4
    viewer.layers[1].contrast_limits = (1, 2)
    assert [layer.contrast_limits for layer in viewer.layers] == [limits[0], [1, 2], *limits[2:]]


def test_what_was_unlinked_stays_so(viewer):
    linking = Linking()
    linking.follow(viewer.layers)
    unlink_layers(viewer.layers)
    linking.follow(viewer.layers)
    viewer.layers[0].translate = (7, 8, 9)
    assert not np.allclose(viewer.layers[1].translate, (7, 8, 9))


def test_other_cases_other_grids_results_and_other_plugins_layers_stay_apart(viewer, tmp_path):
    apart = [Layer.create(*read_layers(str(write_images(tmp_path / "case_2", modalities=("t1",))))[0])]
    folder = write_images(tmp_path / "case_1", modalities=("extra",), affine=np.diag([-2.0, -2.0, 2.0, 1.0]))
    apart.append(Layer.create(*read_layers(str(folder / "case_1_extra.nii.gz"))[0]))
    result = viewer.layers[0]
    apart.append(Image(result.data, metadata={**result.metadata, RESULT_KEY: "diffseg 1"}))
    apart.append(Image(np.ones((4, 4, 4))))
    before = [tuple(layer.translate) for layer in apart]
    Linking().follow([*viewer.layers, *apart])
    viewer.layers[0].translate = (7, 8, 9)
    assert [tuple(layer.translate) for layer in apart] == before
