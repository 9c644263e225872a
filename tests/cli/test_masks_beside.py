"""A mask beside the images, of which `predict` makes no use, never stops it; `train` says what is wrong with it."""

import json
import shutil

import nibabel as nib
import numpy as np
import pytest

from builders import tiny_recipe, write_case, write_tiny_checkpoint
from napari_diffseg.cli import main
from napari_diffseg.errors import BadCase
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
        np.testing.assert_array_equal(cases.read("case_1").readers[0], data != 0)
        return
    with pytest.raises(BadCase, match=r"no mask .* to learn from \(the mask beside the images is not used: case_1_seg"):
        cases.read("case_1")
