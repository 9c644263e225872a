"""The original implementation's slice files lie as rows to posterior, columns to left, whatever their affine says."""

import nibabel as nib
import numpy as np
import pytest

from napari_diffseg.imaging.formats.nifti import read_mask, read_volume
from napari_diffseg.imaging.geometry.grid import Grid
from napari_diffseg.imaging.save import write_nifti

ROWS = np.arange(1, 31, dtype=np.float64).reshape(6, 5)


def write(path, array=ROWS, affine=None):
    image = nib.Nifti1Image(array, np.eye(4) if affine is None else affine)
    image.set_sform(image.affine, code=2)
    nib.save(image, path)
    return path


def test_a_network_that_wants_rows_to_posterior_sees_such_a_slice_as_it_is_stored(tmp_path):
    volume = read_volume(write(tmp_path / "brats_train_001_flair_080_w.nii.gz"))
    assert volume.axis_codes == ("P", "L", "S")
    grid = Grid.plan(volume.shape, volume.affine, axis_codes=("P", "L", "S"), size=(6, 5))
    np.testing.assert_array_equal(grid.to_model(volume.data)[0], ROWS)
    assert any("rows to posterior" in note for note in volume.notes)


def test_a_brats_volume_holds_the_same_slice_transposed_and_gives_the_same_pixels(tmp_path):
    affine = np.diag([-1.0, -1.0, 1.0, 1.0])
    volume = read_volume(write(tmp_path / "case_001_flair.nii.gz", ROWS.T[:, :, None], affine))
    grid = Grid.plan(volume.shape, volume.affine, axis_codes=("P", "L", "S"), size=(6, 5))
    np.testing.assert_array_equal(grid.to_model(volume.data)[0], ROWS)


def test_a_result_has_the_files_own_geometry(tmp_path):
    source = write(tmp_path / "brats_train_001_flair_080_w.nii.gz")
    write_nifti(tmp_path / "mask.nii.gz", np.ones((6, 5, 1), np.uint8), read_volume(source))
    written, original = nib.load(tmp_path / "mask.nii.gz"), nib.load(source)
    np.testing.assert_array_equal(written.get_sform(), original.get_sform())
    assert written.header["sform_code"] == 2


def test_masks_lie_as_their_images_do(tmp_path):
    mask = read_mask(write(tmp_path / "brats_train_001_seg_080_w.nii.gz", (ROWS > 10).astype(np.uint8)))
    assert mask.axis_codes == ("P", "L", "S")


@pytest.mark.parametrize(
    ("name", "affine"),
    [
        ("case_flair.nii.gz", np.eye(4)),
        ("brats_train_001_flair_080_w.nii.gz", np.diag([-1.0, -1.0, 1.0, 1.0])),
        ("brats_train_001_flair.nii.gz", np.eye(4)),
    ],
)
def test_any_other_name_or_affine_is_taken_at_its_word(tmp_path, name, affine):
    volume = read_volume(write(tmp_path / name, ROWS[:, :, None], affine))
    np.testing.assert_array_equal(volume.affine, affine)
