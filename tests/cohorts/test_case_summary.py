"""What a table of many cases says of one: the same figures as the panel has when the case is open."""

import nibabel as nib
import numpy as np
import pytest

from napari_diffseg.cohorts.case_summary import summarise_case
from napari_diffseg.ensemble.findings import measure
from napari_diffseg.runs.stored_run import read_run
from stored_runs import write_run


@pytest.mark.parametrize("labels", [["lesion"], ["whole tumour", "tumour core"]])
def test_lesions_are_those_that_are_listed_of_the_members(tmp_path, labels):
    masks = np.zeros((3, len(labels), 3, 6, 4), bool)
    masks[:, :, :, :2] = True  # 24 voxels, in all members
    masks[1, -1, 1, 5, 3] = True  # one voxel, in one member
    write_run(tmp_path / "run", masks=list(masks), labels=labels, label_values=[[1, 2], [2]][: len(labels)])
    run = read_run(tmp_path / "run")
    found = measure(run.ensemble().whole_members(), voxel_mm3=run.grid.voxel_mm3)
    assert (len(found.components), len(found.lesions)) == (2, 1)
    summary = summarise_case(tmp_path / "run")
    assert (summary.lesions, summary.volume_ml) == (1, pytest.approx(24 * 6 / 1000))


def test_dice_of_a_run_of_tumour_core_is_with_the_labels_of_tumour_core(tmp_path):
    masks = np.zeros((1, 1, 3, 6, 4), bool)
    masks[:, :, :, :2] = True
    write_run(tmp_path / "run", masks=list(masks), labels=["tumour core"])
    mask = nib.load(tmp_path / "run" / "mask.nii.gz")
    drawn = np.asanyarray(mask.dataobj).astype(np.uint8)
    drawn[:1] *= 4
    drawn[4:] = 2  # oedema
    nib.save(nib.Nifti1Image(drawn, mask.affine), tmp_path / "seg.nii.gz")
    assert summarise_case(tmp_path / "run", truth=[tmp_path / "seg.nii.gz"]).dice == 1


def test_without_members_nothing_is_said_of_lesions(tmp_path):
    write_run(tmp_path / "run")
    for path in (tmp_path / "run" / "members").iterdir():
        path.unlink()
    assert summarise_case(tmp_path / "run").lesions is None
