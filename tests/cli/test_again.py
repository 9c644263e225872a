"""The command that a report's page names does what it says."""

import shlex

import nibabel as nib
import numpy as np

from builders import write_case, write_tiny_checkpoint
from napari_diffseg.cli import main
from napari_diffseg.reporting.page import again
from napari_diffseg.runs.record import read_record


def test_the_command_on_a_reports_page_makes_the_masks_of_an_overridden_checkpoint_again(tmp_path, monkeypatch):
    case = write_case(tmp_path / "case_1")
    checkpoint = write_tiny_checkpoint(tmp_path / "tiny.safetensors")
    said = ("--normalisation", "zscore", "--clip=-2,2", "--mask-low", "-0.9", "--modalities", "flair,t2,t1ce,t1")
    where = ("--checkpoint", str(checkpoint), "--out", str(tmp_path / "out"), "--device", "cpu", "--members", "2")
    assert main(["predict", str(case), *where, *said]) == 0
    monkeypatch.chdir(case)
    (case / checkpoint.name).symlink_to(checkpoint)
    words = shlex.split(again(read_record(tmp_path / "out" / "case_1")))
    assert main(words[1:]) == 0
    for name in ("members/member-001", "members/member-002", "mean"):
        first, second = (
            np.asanyarray(nib.load(folder / "case_1" / f"{name}.nii.gz").dataobj)
            for folder in (tmp_path / "out", case / "results")
        )
        np.testing.assert_array_equal(first, second)
