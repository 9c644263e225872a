from __future__ import annotations

import csv
import json
import math
import re

import numpy as np
import pytest
from evaluation_folders import SHAPE, box, write, write_prediction

from napari_diffseg.cli.evaluate import evaluate
from napari_diffseg.errors import BadCase, BadRequest, OutputExists
from napari_diffseg.evaluation.report.report import summarise
from napari_diffseg.evaluation.report.snapshot import take_snapshot
from napari_diffseg.runs.layout import RunFiles


def write_folders(tmp_path):
    """Three cases: one perfect and sure, one beside the truth and unsure, one where nobody sees anything."""
    nothing = np.zeros(SHAPE, bool)
    write_prediction(tmp_path / "runs" / "perfect", [box(8), box(8), box(8)])
    write_prediction(tmp_path / "runs" / "moved", [box(10), box(8), box(12)])
    write_prediction(tmp_path / "runs" / "healthy", [nothing, nothing, nothing])
    for name, truth in (("perfect", box(8)), ("moved", box(8)), ("healthy", nothing)):
        write(tmp_path / "truth" / name / f"{name}_seg.nii.gz", truth)
    return tmp_path


@pytest.fixture
def folders(tmp_path):
    return write_folders(tmp_path)


def run(folders, **options):
    return evaluate(folders / "runs", truth=folders / "truth", out=folders / "out", **options)


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    """The three cases, evaluated; for tests that only look."""
    folders = write_folders(tmp_path_factory.mktemp("reported"))
    assert run(folders) == 0
    return folders


def cases_of(folders):
    report = json.loads((folders / "out" / "report.json").read_text("utf-8"))
    return report, {case["case"]: case for case in report["cases"]}


def test_the_report_says_what_is_known(reported):
    report, cases = cases_of(reported)
    assert cases["perfect"]["overlap"]["dice"] == 1
    assert cases["perfect"]["calibration"]["ece"] == 0
    assert cases["perfect"]["errors"]["qu_brats"]["score"] == pytest.approx(1)
    assert cases["perfect"]["errors"]["auroc"] is None  # there is no error
    assert cases["moved"]["overlap"]["dice"] == pytest.approx(6 / 8)
    assert cases["moved"]["overlap"]["hd95_mm"] == pytest.approx(2)
    assert cases["moved"]["dice_by_members"] == pytest.approx([6 / 8, 2 * 6 / (6 + 8), 6 / 8])
    assert cases["moved"]["distribution"]["d_max"] == 1
    assert cases["moved"]["errors"]["auroc"] > 0.9
    assert "20 mm" in cases["moved"]["region"]
    assert cases["healthy"]["overlap"]["dice"] == 1
    assert cases["healthy"]["overlap"]["hd95_mm"] is None
    assert report["summary"]["hd95_mm"]["n"] == 2
    assert report["summary"]["hd95_mm"]["undefined"] == 1
    assert report["summary"]["dice"]["mean"] == pytest.approx((1 + 6 / 8 + 1) / 3)
    assert "Both masks empty" in report["rules"]["empty masks"]


def test_every_slice_is_measured_in_its_plane(reported):
    slices = cases_of(reported)[1]["moved"]["slices"]
    assert [s["index"] for s in slices] == list(range(6))
    assert [s["overlap"]["dice"] for s in slices] == pytest.approx([1, 6 / 8, 6 / 8, 6 / 8, 6 / 8, 1])
    assert slices[2]["overlap"]["truth_volume_ml"] == pytest.approx(64 * 2 / 1000)


def test_the_table_has_a_row_a_case_and_nothing_for_what_does_not_exist(reported):
    with (reported / "out" / "report.csv").open(newline="", encoding="utf-8") as file:
        rows = {row["case"]: row for row in csv.DictReader(file)}
    assert list(rows) == ["healthy", "moved", "perfect"]
    assert float(rows["moved"]["slice_dice_with_lesion"]) == pytest.approx(6 / 8)
    assert float(rows["moved"]["slice_dice"]) == pytest.approx((4 * 6 / 8 + 2) / 6)
    assert rows["healthy"]["hd95_mm"] == ""


def test_the_page_needs_nothing_but_itself(reported):
    page = (reported / "out" / "report.html").read_text("utf-8")
    assert "<script" not in page
    assert not re.search(r"(?:src|href)=\"(?!data:)", page)
    assert page.count("data:image/svg+xml") == 4
    assert page.count("data:image/png") == 3
    assert "Reliability" in page


def test_the_same_folders_give_the_same_bytes(folders):
    run(folders)
    first = [(folders / "out" / name).read_bytes() for name in ("report.json", "report.csv", "report.html")]
    run(folders, overwrite=True)
    assert first == [(folders / "out" / name).read_bytes() for name in ("report.json", "report.csv", "report.html")]


def test_a_name_from_a_file_cannot_speak_html(folders):
    (folders / "runs" / "moved").rename(folders / "runs" / "<b>moved&")
    (folders / "truth" / "moved").rename(folders / "truth" / "<b>moved&")
    run(folders)
    page = (folders / "out" / "report.html").read_text("utf-8")
    assert "<b>" not in page
    assert "&lt;b&gt;moved&amp;" in page


def test_cases_without_their_counterpart_are_named_and_the_others_are_measured(folders, capsys):
    (folders / "truth" / "moved" / "moved_seg.nii.gz").unlink()
    write(folders / "truth" / "forgotten" / "forgotten_seg.nii.gz", box(8))
    assert run(folders) == 1
    report, cases = cases_of(folders)
    assert set(cases) == {"perfect", "healthy"}
    assert "moved_seg.nii.gz" in report["failed"]["moved"]
    assert report["without_prediction"] == ["forgotten"]
    assert "forgotten" in capsys.readouterr().err
    assert "forgotten" in (folders / "out" / "report.html").read_text("utf-8")


def test_what_a_reader_should_know_of_a_case_is_said_on_the_screen_too(folders, capsys):
    write_prediction(folders / "runs" / "moved", [box(10)], slices=[1, 2], status="running")
    run(folders)
    lines = capsys.readouterr().err.splitlines()
    assert "perfect: Dice 1.000" in lines
    note = (
        "the run covered 2 of 6 slices: only they are measured; the run was not finished: these are the members it had"
    )
    assert f"moved: Dice 0.750 ({note})" in lines


def test_a_truth_on_another_grid_is_a_case_not_measured(folders):
    write(folders / "truth" / "moved" / "moved_seg.nii.gz", box(8, shape=(24, 20, 7)))
    assert run(folders) == 1
    assert "24 x 20 x 7" in cases_of(folders)[0]["failed"]["moved"]


def test_predictions_are_no_truth_of_themselves_and_nothing_is_reported(folders):
    with pytest.raises(BadCase, match=r"None of 3 cases.*predicted mask itself"):
        evaluate(folders / "runs", truth=folders / "runs", out=folders / "out")
    assert not list((folders / "out").iterdir())


def test_a_report_that_is_there_is_kept(reported):
    with pytest.raises(OutputExists, match="allow overwriting"):
        run(reported)


def test_several_readers_are_a_distribution_to_be_met(folders):
    for k, x in ((1, 8), (2, 10), (3, 12)):
        write(folders / "truth" / "moved" / f"moved_reader{k}.nii.gz", box(x))
    run(folders)
    case = cases_of(folders)[1]["moved"]
    assert case["truth"] == ["moved_reader1.nii.gz", "moved_reader2.nii.gz", "moved_reader3.nii.gz"]
    assert case["distribution"]["readers"] == 3
    assert case["distribution"]["ged_squared"] == pytest.approx(0, abs=1e-9)
    assert case["distribution"]["hungarian_iou"] == pytest.approx(1)
    assert case["calibration"]["ece"] == pytest.approx(0, abs=1e-6)  # the members draw what the readers draw
    assert case["overlap"]["dice"] == 1


def test_images_say_where_the_brain_is(folders):
    brain = np.zeros(SHAPE, np.float32)
    brain[4:, 2:18] = 100
    brain[12, 10] = 50
    for name in ("perfect", "moved", "healthy"):
        write(folders / "images" / name / f"{name}_flair.nii.gz", brain)
    run(folders, images=folders / "images")
    case = cases_of(folders)[1]["moved"]
    assert case["region"].startswith("brain")
    assert case["region_voxels"] == 20 * 16 * 6


def test_the_expected_mask_is_measured_where_there_is_one(folders):
    doubtful = np.where(box(10) ^ box(8), 0.4, box(9).astype(np.float64)).astype(np.float32)
    write(folders / "runs" / "moved" / "expected.nii.gz", doubtful)
    assert run(folders) == 0
    _, cases = cases_of(folders)
    assert cases["perfect"]["expected"] is None
    found = cases["moved"]["expected"]
    assert found["error_auroc"] == 1  # all errors of the mask, and no other voxel, are in doubt
    assert found["dice"] == pytest.approx(2 * 6 / (6 + 8))  # the sure part against the truth
    assert found["ece"] > 0


def test_a_mask_alone_is_measured_without_what_it_has_not(folders):
    for path in (folders / "runs" / "moved").rglob("*.nii.gz"):
        if path.name != "mask.nii.gz":
            path.unlink()
    (folders / "runs" / "moved" / "run.json").unlink()
    assert run(folders) == 0
    case = cases_of(folders)[1]["moved"]
    assert case["overlap"]["dice"] == pytest.approx(6 / 8)
    assert (case["distribution"], case["calibration"], case["errors"]) == (None, None, None)
    assert "run.json" in case["notes"][0]


def test_wrong_options_are_refused_before_any_work(folders):
    with pytest.raises(BadRequest, match="whole numbers"):
        run(folders, labels="core")
    with pytest.raises(BadRequest, match="at least 2"):
        run(folders, bins=1)
    assert not (folders / "out").exists()


def test_undefined_numbers_are_counted_and_left_out():
    found = summarise([1.0, math.nan, 3.0])
    assert (found.n, found.undefined, found.mean, found.median) == (2, 1, 2, 2)
    assert found.sd == pytest.approx(math.sqrt(2))


def test_a_snapshot_has_the_patients_left_on_the_right_and_the_front_up(folders):
    from napari_diffseg.evaluation.cases.predicted import read_prediction
    from napari_diffseg.evaluation.cases.prediction_files import PredictionFiles

    folder = write_prediction(folders / "corner", [np.pad(np.ones((2, 3, 1), bool), ((0, 22), (0, 17), (2, 3)))])
    predicted = read_prediction(PredictionFiles(RunFiles(folder)), case_id="corner")
    # The file is LPS: its first voxel is the patient's right and front, so at the top left here.
    found = take_snapshot(predicted, predicted.mask, dice=1.0, image=None)
    assert found.index == 2
    assert found.mask.shape == (3 + 8, 2 + 8)  # cut, with a margin where there is room
    assert found.mask[:3, :2].all()
    assert found.mask.sum() == 6
    assert found.aspect == 1
