"""`napari-diffseg export`, as a user types it."""

import json

import nibabel as nib
import numpy as np
import pytest
from dicom_series import write_series

from napari_diffseg.cli import main
from napari_diffseg.ensemble.consensus import staple
from napari_diffseg.imaging.formats.nifti import read_volume
from napari_diffseg.runs.edited_mask import EditedMask, EditRecord, write_edited
from stored_runs import SHAPE, write_run


@pytest.fixture
def run(tmp_path):
    write_run(tmp_path / "run")
    return tmp_path / "run"


def export(*words):
    return main(["export", *map(str, words)])


def test_it_prints_every_file_that_it_writes(run, tmp_path, capsys):
    assert export(run, "--out", tmp_path / "out", "--what", "mask,mean", "--threshold", "0.3") == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed == [str(tmp_path / "out" / f"case_1_{name}") for name in ("mask.nii.gz", "mean.nii.gz", "run.json")]
    mask, mean = (np.asanyarray(nib.load(path).dataobj) for path in printed[:2])
    np.testing.assert_array_equal(mask, mean > 0.3)


def test_it_resamples_to_an_image(run, tmp_path):
    affine = nib.load(run / "mask.nii.gz").affine @ np.diag([0.5, 1, 1, 1])
    nib.save(nib.Nifti1Image(np.arange(220, dtype=np.float32).reshape(11, 5, 4), affine), tmp_path / "fine.nii.gz")
    assert export(run, "--out", tmp_path / "out", "--like", tmp_path / "fine.nii.gz", "--names", "bids") == 0
    mask = nib.load(tmp_path / "out/sub-case1/anat/sub-case1_desc-diffseg_mask.nii.gz")
    assert mask.shape == (11, 5, 4)
    np.testing.assert_array_equal(mask.dataobj[::2], nib.load(run / "mask.nii.gz").dataobj)


def test_an_image_of_nothing_but_0_is_a_grid_to_resample_to(run, tmp_path):
    affine = nib.load(run / "mask.nii.gz").affine
    nib.save(nib.Nifti1Image(np.zeros((6, 5, 4, 3), np.uint8), affine), tmp_path / "empty.nii.gz")
    assert export(run, "--out", tmp_path / "out", "--like", tmp_path / "empty.nii.gz", "--what", "mask") == 0
    mask = nib.load(tmp_path / "out" / "case_1_mask.nii.gz")
    np.testing.assert_array_equal(mask.dataobj, nib.load(run / "mask.nii.gz").dataobj)


def test_a_run_that_fails_is_named_and_the_others_are_written(run, tmp_path, capsys):
    assert export(tmp_path / "absent", run, "--out", tmp_path / "out") == 1
    assert "absent holds no run.json" in capsys.readouterr().err
    assert nib.load(tmp_path / "out" / "case_1_mask.nii.gz").shape == SHAPE


def test_it_takes_all_runs_of_a_folder_that_predict_wrote(run, tmp_path):
    for name in ("a", "b"):
        write_run(tmp_path / "root" / name)
        record = tmp_path / "root" / name / "run.json"
        record.write_text(json.dumps(json.loads(record.read_text()) | {"case": name}))
    words = ["--what", "mask", "--pattern", "{case}", "--pictures"]
    assert export(tmp_path / "root", run, "--out", tmp_path / "out", *words) == 0
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {f"{case}{end}" for case in ("a", "b", "case_1") for end in (".nii.gz", "_run.json")} <= names
    assert len([name for name in names if name.startswith("a_slice")]) > 1


@pytest.mark.parametrize(
    "words",
    [
        ["--what", "masks"],
        ["--pattern", "x"],
        ["--names", "bids", "--pattern", "{case}-{what}"],
        ["--threshold", "2"],
        ["--staple", "--threshold", "0.3"],
    ],
)
def test_what_cannot_be_is_a_usage_error(run, tmp_path, words):
    assert export(run, "--out", tmp_path / "out", *words) == 2
    assert not (tmp_path / "out").exists()


def test_it_makes_a_page_and_pictures_with_an_image_behind(run, tmp_path, capsys):
    image = run / "mean.nii.gz"
    words = ["--what", "mask", "--report", "--pictures", "--image", image]
    assert export(run, "--out", tmp_path / "out", *words) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[-1] == str(tmp_path / "out" / "case_1_report.html")
    assert "on mean.nii.gz" in (tmp_path / "out" / "case_1_report.html").read_text("utf-8")
    assert any(line.endswith(".png") for line in printed)


def test_it_makes_the_mask_by_staple(run, tmp_path):
    pytest.importorskip("SimpleITK")
    assert export(run, "--out", tmp_path / "out", "--what", "mask,members", "--staple", "--names", "bids") == 0
    folder = tmp_path / "out/sub-case1/anat"
    mask = np.asanyarray(nib.load(folder / "sub-case1_desc-diffseg_mask.nii.gz").dataobj)
    paths = sorted(folder.glob("*diffseg0*_mask.nii.gz"))
    members = [np.asanyarray(nib.load(path).dataobj).astype(bool)[None] for path in paths]
    np.testing.assert_array_equal(mask, staple(members, np.sum(members, axis=0, dtype=np.uint16))[0].mask)
    assert json.loads((folder / "sub-case1_desc-diffseg_mask.json").read_text())["Rule"] == "staple"


def test_an_image_that_nothing_would_show_is_refused(run, tmp_path, capsys):
    assert export(run, "--out", tmp_path / "out", "--image", run / "mean.nii.gz") != 0
    assert "--image is what --report and --pictures show" in capsys.readouterr().err


def test_the_mask_that_was_corrected_last_goes_along(run, tmp_path, capsys):
    assert export(run, "--out", tmp_path / "none", "--what", "mask", "--edited") == 1
    assert "no mask that was corrected by hand" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()
    grid = read_volume(run / "mask.nii.gz")
    for number in (1, 2):
        mask = np.zeros(SHAPE, np.uint8)
        mask[:number] = 1
        write_edited(run, EditedMask(number, mask, mask, EditRecord(began_from="majority")), grid)
    assert export(run, "--out", tmp_path / "out", "--what", "mask", "--edited") == 0
    edited = np.asanyarray(nib.load(tmp_path / "out" / "case_1_edited.nii.gz").dataobj)
    assert edited.sum() == 2 * SHAPE[1] * SHAPE[2]
    words = ["--what", "mask", "--edited", "--report", "--truth", run / "mask.nii.gz", "--smallest-lesion-ml", "0.1"]
    assert export(run, "--out", tmp_path / "reported", *words) == 0
    page = (tmp_path / "reported" / "case_1_report.html").read_text()
    assert "Dice with ground truth" in page
    assert "0.1 ml" in page


def test_a_dicom_segmentation_asks_for_its_series(run, tmp_path, capsys):
    assert export(run, "--out", tmp_path / "out", "--what", "dicom") == 2
    assert "(--series)" in capsys.readouterr().err
    assert export(run, "--out", tmp_path / "out", "--series", tmp_path) == 2
    place = write_series(tmp_path / "series", np.arange(np.prod(SHAPE)).reshape(SHAPE))
    assert export(run, "--out", tmp_path / "out", "--what", "dicom", "--series", place) == 1
    assert "but the run is" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
