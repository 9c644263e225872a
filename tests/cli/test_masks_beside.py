"""A mask beside the images, of which `predict` makes no use, never stops it; `train` says what is wrong with it."""

import json
import shutil

import nibabel as nib
import numpy as np
import pytest

from builders import tiny_recipe, write_case, write_tiny_checkpoint
from napari_diffseg.cli import main
from napari_diffseg.errors import DiffsegError
from napari_diffseg.training.config import DataSettings
from napari_diffseg.training.folders import FolderSource, find_cases

SHAPE = (14, 12, 5)
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
FRACTIONS = np.linspace(0, 0.9, 840, dtype=np.float32).reshape(SHAPE)
COLOURS = np.zeros(SHAPE, [("R", "u1"), ("G", "u1"), ("B", "u1")])
SHIFTED = LPS + 0.3 * np.eye(4, k=3)
MASKS = {
    "nearly whole": (np.resize(np.array([0, 0.99999994], "f4"), SHAPE), LPS),
    "one fraction": (np.resize(np.array([0, 14.245], "f4"), SHAPE), LPS),
    "fractions": (FRACTIONS, LPS),
    "colours": (COLOURS, LPS),
    "4-D": (np.ones((*SHAPE, 3), np.uint8), LPS),
    "shifted": (np.ones(SHAPE, np.uint8), SHIFTED),
}


@pytest.mark.parametrize("kind", MASKS)
def test_predict_goes_on_with_the_images(tmp_path, kind, capsys):
    checkpoint = write_tiny_checkpoint(tmp_path / "tiny.safetensors")
    case = write_case(tmp_path / "case_1")
    data, affine = MASKS[kind]
    nib.save(nib.Nifti1Image(data, affine), case / "case_1_seg.nii.gz")
    words = ["predict", case, "--checkpoint", checkpoint, "--out", tmp_path / "out", "--device", "cpu", "--members", 1]
    assert main([str(word) for word in words]) == 0
    record = json.loads((tmp_path / "out" / "case_1" / "run.json").read_text())
    said = [line for line in record["warnings"] if "mask beside the images is not used" in line]
    assert len(said) == (kind not in ("nearly whole", "one fraction"))
    shutil.rmtree(tmp_path / "out")


@pytest.mark.parametrize("kind", MASKS)
def test_train_takes_what_is_nearly_a_mask_and_says_why_another_is_none(tmp_path, kind):
    case = write_case(tmp_path / "case_1", modalities=("t1",))
    data, affine = MASKS[kind]
    nib.save(nib.Nifti1Image(data, affine), case / "case_1_seg.nii.gz")
    cases = FolderSource(find_cases(tmp_path), tiny_recipe(modalities=("t1",)), DataSettings(), seed=0)
    if kind in ("nearly whole", "one fraction"):
        np.testing.assert_array_equal(cases.read("case_1").readers.reshape(SHAPE), data != 0)
        return
    with pytest.raises(DiffsegError, match=r"case_1_seg\.nii\.gz (?:holds|is 14 x 12 x 5)"):
        cases.read("case_1")


def test_predict_takes_a_case_of_mixed_formats_and_writes_on_its_voxels(tmp_path):
    import SimpleITK as sitk
    from dicom_series import write_series

    checkpoint = write_tiny_checkpoint(tmp_path / "tiny.safetensors")
    case = write_case(tmp_path / "case_1", modalities=("t1", "t1ce"))
    data = np.asarray(nib.load(case / "case_1_t1.nii.gz").dataobj)
    sitk.WriteImage(sitk.GetImageFromArray(np.ascontiguousarray(data.T)), str(case / "case_1_t2.mha"))
    write_series(case / "case_1_flair", data.astype(np.int16), LPS)
    words = ["predict", case, "--checkpoint", checkpoint, "--out", tmp_path / "out", "--device", "cpu", "--members", 1]
    assert main([str(word) for word in words]) == 0
    mask = nib.load(tmp_path / "out" / "case_1" / "mask.nii.gz")
    assert mask.shape == SHAPE
    np.testing.assert_array_equal(mask.affine, LPS)
    record = json.loads((tmp_path / "out" / "case_1" / "run.json").read_text())
    assert set(record["inputs"]) == {"t1", "t1ce", "t2", "flair"}
