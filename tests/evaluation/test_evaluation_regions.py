"""Each region of a run against the truth, whatever year its labels are of; a region that is missed leaves no mean."""

import csv
import json

import numpy as np
import pytest
from evaluation_folders import SHAPE, box, write, write_prediction

from napari_diffseg.cli.evaluate import evaluate
from napari_diffseg.errors import BadRequest
from napari_diffseg.evaluation.cases.regions import truth_regions
from napari_diffseg.evaluation.metrics.lesionwise import PENALTY_MM
from napari_diffseg.evaluation.run import Evaluation
from napari_diffseg.regions import compose_label_map, regions_named, with_values_of

BRATS = regions_named("brats2021")
TAILS = ("_whole-tumour", "_tumour-core", "_enhancing-tumour")
RECIPE = {"labels": [r.name for r in BRATS], "label_values": [r.values for r in BRATS]}
NOTHING = np.zeros(SHAPE, bool)
TRUTH = np.stack([box(4, width=12), box(6), box(8, width=4)])


def write_run(folder, masks):
    """A run of three regions whose two members are alike."""
    for tail, mask in zip(TAILS, masks, strict=True):
        write_prediction(folder, [mask, mask], tail=tail, recipe=RECIPE)


def write_truth(folder, masks, year):
    labels = compose_label_map(np.asarray(masks), with_values_of(BRATS, year))
    write(folder / f"{folder.name}_seg.nii.gz", labels)


@pytest.fixture
def folders(tmp_path):
    """One case that is exact, and one without an enhancing tumour in the prediction."""
    write_run(tmp_path / "runs" / "exact", TRUTH)
    write_run(tmp_path / "runs" / "missed", [TRUTH[0], TRUTH[1], NOTHING])
    return tmp_path


def run(folders, year, **options):
    for case in ("exact", "missed"):
        write_truth(folders / "truth" / case, TRUTH, year)
    code = evaluate(folders / "runs", truth=folders / "truth", out=folders / "out", **options)
    return code, json.loads((folders / "out" / "report.json").read_text("utf-8"))


@pytest.mark.parametrize(("year", "asked"), [("brats2021", None), ("brats2023", None), ("brats2023", "brats2023")])
def test_each_region_is_measured_whatever_year_the_truth_is_of(folders, year, asked):
    code, report = run(folders, year, regions=asked)
    assert code == 0
    assert report["regions"] == list(RECIPE["labels"])
    assert report["summary"]["whole-tumour_dice"]["mean"] == 1
    assert report["summary"]["tumour-core_dice"]["mean"] == 1
    assert set(report["reliability_by_region"]) == set(RECIPE["labels"])
    notes = {note for case in report["cases"] for note in case["notes"]}
    enhancing = with_values_of(BRATS, year)[2].values[0]
    assert f"enhancing tumour: labels {enhancing} of the truth" in notes


def test_a_missed_region_stays_in_every_mean_or_is_counted(folders):
    _, report = run(folders, "brats2021")
    summary = {
        name.removeprefix("enhancing-tumour_"): s for name, s in report["summary"].items() if "enhancing" in name
    }
    assert (summary["dice"]["n"], summary["dice"]["mean"]) == (2, 0.5)
    assert (summary["hd95_mm"]["n"], summary["hd95_mm"]["undefined"]) == (1, 1)
    assert (summary["hd95_brats_mm"]["n"], summary["hd95_brats_mm"]["mean"]) == (2, PENALTY_MM / 2)
    assert (summary["lesion_hd95_mm"]["n"], summary["lesion_dice"]["mean"]) == (2, 0.5)
    assert "HD95 374 mm" in report["rules"]["lesions"]
    page = (folders / "out" / "report.html").read_text("utf-8")
    assert "(undefined in 1)" in page
    assert "Evaluation of 2 cases" in page
    with (folders / "out" / "report.csv").open(newline="") as file:
        rows = {row["case"]: row for row in csv.DictReader(file)}
    assert rows["missed"]["enhancing-tumour_dice"] == "0.0"
    assert rows["missed"]["enhancing-tumour_hd95_mm"] == ""
    assert float(rows["missed"]["tumour-core_ged_squared"]) == 0


def test_one_channel_is_held_against_its_own_labels(folders):
    _, report = run(folders, "brats2023", channel="tumour-core")
    assert report["regions"] == []
    assert report["summary"]["dice"]["mean"] == 1


@pytest.mark.parametrize("options", [{"prediction_regions": "nnunet"}, {"prediction_labels": (1,), "regions": "brats"}])
def test_options_that_would_do_nothing_are_refused(tmp_path, options):
    with pytest.raises(BadRequest, match="of no use"):
        Evaluation(tmp_path, tmp_path, **options)


def test_a_truth_of_one_label_says_nothing_of_regions(folders):
    for case in ("exact", "missed"):
        write(folders / "truth" / case / f"{case}_seg.nii.gz", TRUTH[0])
    with pytest.raises(BadRequest, match=r"^The truth holds label 1 alone"):
        evaluate(folders / "runs", truth=folders / "truth", out=folders / "out")


def test_label_maps_of_other_programs_are_taken_apart_where_it_is_asked_for(tmp_path):
    write_truth(tmp_path / "truth" / "a", TRUTH, "brats2021")
    write(tmp_path / "theirs" / "a.nii.gz", compose_label_map(TRUTH, with_values_of(BRATS, "nnunet")))
    options = {"truth": tmp_path / "truth", "regions": "brats", "overwrite": True}
    evaluate(tmp_path / "theirs", out=tmp_path / "out", prediction_regions="nnunet", **options)
    report = json.loads((tmp_path / "out" / "report.json").read_text("utf-8"))
    assert [report["summary"][f"{tail[1:]}_dice"]["mean"] for tail in TAILS] == [1, 1, 1]
    said = {"labels": {"background": 0, "whole tumor": [1, 2, 3], "tumor core": [2, 3], "enhancing tumor": 3}}
    (tmp_path / "theirs" / "dataset.json").write_text(json.dumps(said))
    evaluate(tmp_path / "theirs", out=tmp_path / "out", **options)
    report = json.loads((tmp_path / "out" / "report.json").read_text("utf-8"))
    assert [report["summary"][f"{tail[1:]}_dice"]["mean"] for tail in TAILS] == [1, 1, 1]


@pytest.fixture
def theirs(tmp_path):
    """A label map of another program with nnU-Net's values, and the truth with those of 2021."""
    write_truth(tmp_path / "truth" / "a", TRUTH, "brats2021")
    write(tmp_path / "theirs" / "a.nii.gz", compose_label_map(TRUTH, with_values_of(BRATS, "nnunet")))
    return tmp_path


def measure(folder, **options):
    evaluate(folder / "theirs", truth=folder / "truth", out=folder / "out", **options)
    return json.loads((folder / "out" / "report.json").read_text("utf-8"))


def test_one_region_of_label_maps_of_other_programs_is_measured_alone(theirs):
    report = measure(theirs, regions="brats", prediction_regions="nnunet", channel="tumour-core")
    assert report["regions"] == []
    assert report["summary"]["dice"]["mean"] == 1
    assert "tumour core: labels 1 4 of the truth" in report["cases"][0]["notes"]


def test_the_year_of_label_maps_is_told_by_their_labels(theirs):
    assert measure(theirs, regions="brats", prediction_regions="brats")["summary"]["enhancing-tumour_dice"]["mean"] == 1


def test_the_truth_may_have_the_values_of_nnunet(theirs):
    write_truth(theirs / "truth" / "a", TRUTH, "nnunet")
    assert measure(theirs, regions="nnunet")["summary"]["tumour-core_dice"]["mean"] == 1


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"regions": "nnunet"}, "label 4, which nnunet does not have"),
        ({"regions": "brats", "channel": "core"}, "no region core, but whole-tumour, tumour-core, enhancing-tumour"),
    ],
)
def test_what_no_case_can_be_measured_with_is_refused_once(theirs, capsys, options, why):
    write(theirs / "theirs" / "b.nii.gz", TRUTH[0])
    write_truth(theirs / "truth" / "b", TRUTH, "brats2021")
    with pytest.raises(BadRequest, match=why):
        measure(theirs, **options)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("values", "asked"), [((1, 4), None), ((1, 3), None), ((), "brats2021")])
def test_a_run_of_one_region_is_held_against_the_labels_of_that_region(tmp_path, values, asked):
    write_truth(tmp_path / "truth" / "a", TRUTH, "brats2021")
    write_prediction(
        tmp_path / "theirs" / "a", [TRUTH[1], TRUTH[1]], recipe={"labels": ["tumour core"], "label_values": [values]}
    )
    report = measure(tmp_path, regions=asked)
    assert (report["regions"], report["summary"]["dice"]["mean"]) == ([], 1)
    assert "tumour core: labels 1 4 of the truth" in report["cases"][0]["notes"]


@pytest.mark.parametrize(
    ("asked", "values", "enhancing"),
    [
        (None, {1, 2, 4}, 4),
        (None, {1, 2}, 4),
        (None, {1, 2, 3}, 3),
        ("brats", {1, 2, 3}, 3),
        ("decathlon", {1, 2, 3}, 3),
        ("nnunet", {1, 2, 3}, 3),
    ],
)
def test_the_labels_that_occur_tell_the_year(asked, values, enhancing):
    assert truth_regions(asked, BRATS, values)[2].values == (enhancing,)


@pytest.mark.parametrize(
    ("asked", "values", "why"),
    [
        (None, {1, 2, 3, 4}, "Say which year"),
        ("brats2021", {1, 2, 3}, "label 3, which brats2021"),
        (None, {7}, "it holds 7"),
    ],
)
def test_labels_that_do_not_tell_are_refused(asked, values, why):
    with pytest.raises(BadRequest, match=why):
        truth_regions(asked, BRATS, values)
