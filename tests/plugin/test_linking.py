"""Images of one case move together, until somebody unlinks them."""

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.experimental import unlink_layers
from napari.layers import Image, Layer
from napari.layers.utils._link_layers import get_linked_layers, layer_is_linked

from napari_diffseg.plugin.canvas.linking import link_new
from napari_diffseg.plugin.files.reader import read_layers
from napari_diffseg.plugin.grid.frame import RESULT_KEY
from napari_diffseg.plugin.panel.panel import DiffsegPanel
from plugin_fakes import write_images


@pytest.fixture
def model(case_folder):
    made = ViewerModel()
    for data in read_layers(str(case_folder)):
        made.add_layer(Layer.create(*data))
    return made


def test_who_moves_one_image_moves_all_and_leaves_their_contrast(model):
    link_new(model.layers)
    limits = [layer.contrast_limits for layer in model.layers]
    model.layers[1].translate = (7, 8, 9)
    assert [tuple(layer.translate) for layer in model.layers] == [(7, 8, 9)] * 4
    model.layers[1].contrast_limits = (1, 2)
    assert [layer.contrast_limits for layer in model.layers] == [limits[0], [1, 2], *limits[2:]]


def test_what_was_unlinked_stays_so(model):
    link_new(model.layers)
    unlink_layers(model.layers)
    link_new(model.layers)
    model.layers[0].translate = (7, 8, 9)
    assert not np.allclose(model.layers[1].translate, (7, 8, 9))


def test_and_stays_so_for_a_panel_that_is_opened_anew(ready, session):
    layers = ready.viewer.layers
    assert all(map(layer_is_linked, layers))
    unlink_layers(layers)
    DiffsegPanel(ready.viewer, session=session).deleteLater()
    assert not any(map(layer_is_linked, layers))


def test_cases_of_one_folder_are_told_apart_by_their_names(tmp_path):
    for case in ("BRATS_001", "BRATS_002"):
        write_images(tmp_path / "flat", modalities=("t1", "flair"), case_id=case)
    paths = sorted(str(path) for path in (tmp_path / "flat").iterdir())
    layers = [Layer.create(*data) for data in read_layers(paths)]
    link_new(layers)
    layers[0].translate = (7, 8, 9)
    assert [tuple(layer.translate) == (7, 8, 9) for layer in layers] == [True, True, False, False]


def test_of_many_channels_each_is_linked_with_few_and_all_move_together(model):
    frame = model.layers[0].metadata
    layers = [Image(np.ones((2, 2, 2)), metadata=frame) for _ in range(30)]
    link_new(layers)
    assert max(len(get_linked_layers(layer)) for layer in layers) < 15
    unlink_layers([layers[12]])
    layers[3].translate = (7, 8, 9)
    assert [n for n, layer in enumerate(layers) if tuple(layer.translate) != (7, 8, 9)] == [12]


def test_other_cases_other_grids_results_and_other_plugins_layers_stay_apart(model, tmp_path):
    apart = [Layer.create(*read_layers(str(write_images(tmp_path / "case_2", modalities=("t1",))))[0])]
    folder = write_images(tmp_path / "case_1", modalities=("extra",), affine=np.diag([-2.0, -2.0, 2.0, 1.0]))
    apart.append(Layer.create(*read_layers(str(folder / "case_1_extra.nii.gz"))[0]))
    result = model.layers[0]
    apart.append(Image(result.data, metadata={**result.metadata, RESULT_KEY: "diffseg 1"}))
    apart.append(Image(np.ones((4, 4, 4))))
    before = [tuple(layer.translate) for layer in apart]
    link_new([*model.layers, *apart])
    model.layers[0].translate = (7, 8, 9)
    assert [tuple(layer.translate) for layer in apart] == before
