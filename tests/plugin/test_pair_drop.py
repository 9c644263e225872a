"""An image in two files, given to napari in every way in which people give it."""

import nibabel as nib
import numpy as np
import pytest

from napari_diffseg.errors import BadImage
from napari_diffseg.plugin.files.reader import get_reader, read_layers
from plugin_fakes import LPS

DATA = np.arange(1, 61, dtype=np.int16).reshape(5, 4, 3)


@pytest.fixture
def pair(tmp_path):
    nib.save(nib.Nifti1Pair(DATA, LPS), tmp_path / "c_7_t1.hdr")
    return [str(tmp_path / f"c_7_t1{suffix}") for suffix in (".hdr", ".img")]


@pytest.mark.parametrize("order", [[0], [1], [0, 1], [1, 0]], ids=["hdr", "img", "hdr+img", "img+hdr"])
def test_a_pair_dropped_by_either_or_both_files_opens_once(registered, viewer, pair, order):
    viewer.open([pair[k] for k in order], plugin="napari-diffseg")
    [layer] = viewer.layers
    assert layer.name == "c_7 t1"
    np.testing.assert_array_equal(layer.metadata["napari_diffseg"].volume.data, DATA)


def test_a_file_that_is_opened_again_on_purpose_opens_again(registered, viewer, pair):
    viewer.open(pair[0], plugin="napari-diffseg")
    viewer.open(pair[0], plugin="napari-diffseg")
    assert len(viewer.layers) == 2


def test_both_files_given_together_are_one_layer(pair):
    assert len(read_layers(pair)) == 1


def test_voxels_alone_are_ours_to_refuse(tmp_path):
    lone = tmp_path / "t1.img"
    lone.write_bytes(DATA.tobytes() * 10)
    reader = get_reader(str(lone))
    with pytest.raises(BadImage, match=r"t1\.img holds the voxels of a pair, but t1\.hdr is not beside it"):
        reader(str(lone))
