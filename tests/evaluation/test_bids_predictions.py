"""What `export --names bids` wrote is measured as the run that it was made of."""

import json

import numpy as np
import pytest
from evaluation_folders import write

from napari_diffseg.cli import main
from napari_diffseg.cli.evaluate import evaluate
from napari_diffseg.errors import BadCase
from napari_diffseg.evaluation.cases.find_predictions import find_predictions
from napari_diffseg.imaging.formats.nifti import read_mask
from stored_runs import AFFINE, make_record, write_run

EVERYTHING = "mask,mean,uncertainty,members"


@pytest.fixture
def exported(tmp_path):
    write_run(tmp_path / "runs" / "case_1")
    words = ["export", str(tmp_path / "runs" / "case_1"), "--out", str(tmp_path / "bids"), "--names", "bids"]
    assert main([*words, "--what", EVERYTHING]) == 0
    return tmp_path / "bids"


def test_an_export_is_measured_as_its_run_under_the_name_of_its_case(exported, tmp_path):
    truth = read_mask(tmp_path / "runs" / "case_1" / "mask.nii.gz").data > 0
    truth[0] = False
    write(tmp_path / "truth" / "case_1_seg.nii.gz", truth, AFFINE)
    figures = []
    for predictions in (tmp_path / "runs", exported):
        assert evaluate(predictions, truth=tmp_path / "truth", out=tmp_path / "report", overwrite=True) == 0
        figures.append(json.loads((tmp_path / "report" / "report.json").read_text("utf-8"))["cases"])
    assert figures[0] == figures[1]
    assert (figures[1][0]["case"], len(figures[1][0]["dice_by_members"])) == ("case_1", 3)
    assert 0 < figures[1][0]["overlap"]["dice"] < 1


def test_one_of_several_channels_is_named_and_has_its_own_maps(tmp_path):
    anat = tmp_path / "sub-a" / "ses-1" / "anat"
    for name in ("desc-diffseg_dseg", "desc-diffseg_probseg", "desc-diffseg002_dseg", "desc-diffseg010_dseg"):
        for label in ("core", "whole"):
            write(anat / f"sub-a_ses-1_label-{label}_{name}.nii.gz", np.ones((4, 4, 4)))
    [(case, files)] = find_predictions(tmp_path).items()
    mask = files.mask(case, "core")
    begin = "sub-a_ses-1_label-core_desc-diffseg"
    assert (case, mask.name) == ("sub-a_ses-1", f"{begin}_dseg.nii.gz")
    assert files.map("mean", mask).name == f"{begin}_probseg.nii.gz"
    assert files.map("expected", mask).name == f"{begin}Expected_probseg.nii.gz"
    assert files.map("uncertainty", mask).name == f"{begin}_uncertainty.nii.gz"
    assert [path.name for path in files.members(mask)] == [f"{begin}002_dseg.nii.gz", f"{begin}010_dseg.nii.gz"]
    assert files.mask(case, "co-re") == mask
    with pytest.raises(BadCase, match=r"core, whole: name the channel"):
        files.mask(case, None)


def test_sessions_of_one_name_keep_those_of_bids(tmp_path):
    for session in ("1", "2"):
        anat = tmp_path / "sub-a" / f"ses-{session}" / "anat"
        write(anat / f"sub-a_ses-{session}_desc-diffseg_dseg.nii.gz", np.ones((4, 4, 4)))
        (anat / f"sub-a_ses-{session}_desc-diffseg_run.json").write_text(json.dumps(make_record(case="anne").as_json()))
    assert list(find_predictions(tmp_path)) == ["sub-a_ses-1", "sub-a_ses-2"]


def test_a_name_that_is_anothers_in_bids_hides_nobody(tmp_path):
    for subject, case in (("A", "sub-B"), ("B", "X"), ("C", "X")):
        anat = tmp_path / f"sub-{subject}" / "anat"
        write(anat / f"sub-{subject}_desc-diffseg_dseg.nii.gz", np.ones((4, 4, 4)))
        (anat / f"sub-{subject}_desc-diffseg_run.json").write_text(json.dumps(make_record(case=case).as_json()))
    assert list(find_predictions(tmp_path)) == ["sub-A", "sub-B", "sub-C"]


@pytest.mark.parametrize("place", [".", "sub-case1", "sub-case1/anat"])
def test_a_subject_may_be_given_and_its_folder_of_images_too(exported, place):
    assert list(find_predictions(exported / place)) == ["case_1"]


def test_a_label_without_a_plain_letter_is_a_channel_like_any_other(tmp_path):
    for label in ("", "core"):
        write(tmp_path / "sub-a" / "anat" / f"sub-a_label-{label}_desc-diffseg_dseg.nii.gz", np.ones((4, 4, 4)))
    [(case, files)] = find_predictions(tmp_path).items()
    with pytest.raises(BadCase, match="name the channel"):
        files.mask(case, None)
