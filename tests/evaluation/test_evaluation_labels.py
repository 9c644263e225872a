"""Labels of the truth: those that are asked for and never occur, and those that cannot be."""

from __future__ import annotations

import numpy as np
import pytest
from evaluation_folders import box, write, write_prediction

from napari_diffseg.cli.evaluate import evaluate
from napari_diffseg.errors import BadCase, BadRequest
from napari_diffseg.evaluation.run import Evaluation, run_evaluation


def labelled(*labels):
    """A box that begins at 8, its first columns of the labels, the others of the first one."""
    mask = box(8).astype(np.int16) * labels[0]
    for k, label in enumerate(labels):
        mask[8 + k][mask[8 + k] != 0] = label
    return mask


def write_truth(path, mask):
    """As whole numbers that may be negative."""
    import nibabel as nib
    from evaluation_folders import AFFINE

    path.parent.mkdir(parents=True, exist_ok=True)
    nib.Nifti1Image(mask.astype(np.int16), AFFINE).to_filename(path)


@pytest.fixture
def folders(tmp_path):
    """A case with an enhancing tumour (4), and one without."""
    for name, labels in (("a", (1, 2)), ("b", (1, 2, 4))):
        write_prediction(tmp_path / "runs" / name, [box(8)])
        write_truth(tmp_path / "truth" / f"{name}_seg.nii.gz", labelled(*labels))
    return tmp_path


def run(folders, **options):
    return evaluate(folders / "runs", truth=folders / "truth", out=folders / "out", **options)


@pytest.mark.parametrize(("asked", "missing"), [("7", "7"), ("1,3", "3"), ("3,7", "3, 7")])
def test_labels_that_no_truth_holds_are_refused_with_those_that_are_there(folders, asked, missing):
    told = []
    wanted = tuple(int(label) for label in asked.split(","))
    with pytest.raises(BadRequest, match=rf"No truth holds label {missing}: .* 1, 2, 4"):
        run_evaluation(Evaluation(folders / "runs", folders / "truth", labels=wanted), tell=told.append)
    assert told == []


def test_a_label_that_some_cases_lack_is_measured(folders):
    assert run(folders, labels="4") == 0


def test_labels_of_truths_that_are_empty_are_said_to_be_none(folders):
    for name in ("a", "b"):
        write(folders / "truth" / f"{name}_seg.nii.gz", np.zeros_like(box(8)))
    with pytest.raises(BadRequest, match="there is no label"):
        run(folders, labels="1")


@pytest.mark.parametrize("labels", ["0,1", "-1"])
def test_background_is_no_label_of_lesion(folders, labels):
    with pytest.raises(BadRequest, match="above 0"):
        run(folders, labels=labels)


@pytest.mark.parametrize("options", [{}, {"labels": "1"}])
def test_a_truth_of_negative_labels_is_refused(folders, options):
    write_truth(folders / "truth" / "a_seg.nii.gz", -labelled(1, 2))
    assert run(folders, **options) == 1
    for name in ("a", "b"):
        write_truth(folders / "truth" / f"{name}_seg.nii.gz", -labelled(1, 2))
    with pytest.raises(BadCase, match=r"a_seg.nii.gz holds negative labels \(-2, -1\)"):
        run(folders, overwrite=True, **options)
