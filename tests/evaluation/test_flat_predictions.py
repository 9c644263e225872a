"""Masks side by side in one folder, as other programs write them, and as `export` does."""

from __future__ import annotations

import json
import shutil

import nibabel as nib
import numpy as np
import pytest
from evaluation_folders import SHAPE, box, write, write_prediction

from napari_diffseg.cli.evaluate import evaluate
from napari_diffseg.errors import BadCase
from napari_diffseg.evaluation.cases.find_predictions import find_predictions


@pytest.fixture
def truth(tmp_path):
    for name in ("a", "b"):
        write(tmp_path / "truth" / f"{name}.nii.gz", box(8))
    return tmp_path / "truth"


def run(predictions, truth, **options):
    """The cases of the report, by name."""
    out = truth.parent / "out"
    assert evaluate(predictions, truth=truth, out=out, **options) == 0
    return {case["case"]: case for case in json.loads((out / "report.json").read_text("utf-8"))["cases"]}


def dices(cases):
    return {name: pytest.approx(case["overlap"]["dice"]) for name, case in cases.items()}


def export(folder, out, case, **record):
    """A case's files under the names that `export` gives them."""
    out.mkdir(exist_ok=True)
    for path in [*folder.rglob("*.nii.gz"), folder / "run.json"]:
        shutil.copy(path, out / f"{case}_{path.name}")
    whole = json.loads((folder / "run.json").read_text("utf-8"))
    (out / f"{case}_run.json").write_text(json.dumps({"request": {"slices": None}} | whole | record), "utf-8")


@pytest.mark.parametrize("name", ["{}.nii.gz", "{}.nii", "{}_seg.nii.gz", "{}_mask.nii.gz"])
def test_a_mask_a_case_is_measured_without_what_it_has_not(tmp_path, truth, name):
    write(tmp_path / "masks" / name.format("a"), box(8))
    write(tmp_path / "masks" / name.format("b"), box(10))
    (tmp_path / "masks" / "dataset.json").write_text("{}")
    cases = run(tmp_path / "masks", truth)
    assert dices(cases) == {"a": 1, "b": 6 / 8}
    assert (cases["b"]["distribution"], cases["b"]["calibration"], cases["b"]["errors"]) == (None, None, None)
    assert (len(cases["b"]["slices"]), cases["b"]["notes"]) == (SHAPE[2], [])


def test_an_export_is_measured_as_the_run_that_it_is_of(tmp_path, truth):
    for name, start in (("a", 8), ("b", 10)):
        folder = write_prediction(tmp_path / "runs" / name, [box(start), box(start), box(7)], timesteps=5)
        export(folder, tmp_path / "masks", name)
    found = run(tmp_path / "masks", truth)
    assert found == run(tmp_path / "runs", truth, overwrite=True)
    assert found["b"]["errors"] is not None


def test_one_of_several_exported_channels_is_named(tmp_path, truth):
    for tail, start in (("_core", 12), ("_channel-2", 8)):
        export(write_prediction(tmp_path / "a", [box(start)], tail=tail), tmp_path / "masks", "a")
    assert dices(run(tmp_path / "masks", truth, channel="channel-2")) == {"a": 1}
    with pytest.raises(BadCase, match=r"channel-2, core: name the channel"):
        run(tmp_path / "masks", truth, overwrite=True)


def test_a_number_behind_the_word_mask_is_a_case_and_no_channel(tmp_path):
    for n in ("01", "02"):
        write(tmp_path / f"tumour_mask_{n}.nii.gz", box(8))
    assert list(find_predictions(tmp_path)) == ["tumour_01", "tumour_02"]


def test_maps_and_images_beside_masks_are_no_cases(tmp_path):
    for name in ("a_mask", "a_mean", "a_uncertainty", "a_expected", "a_member-001", "a_flair"):
        write(tmp_path / f"{name}.nii.gz", box(8))
    assert list(find_predictions(tmp_path)) == ["a"]


@pytest.mark.parametrize("second", ["a_seg.nii.gz", "a_mask.nii.gz"])
def test_two_masks_of_one_case_are_refused_with_their_names(tmp_path, second):
    write(tmp_path / "a.nii.gz", box(8))
    write(tmp_path / second, box(8))
    with pytest.raises(BadCase, match=rf"Case a: (a.nii.gz.*{second}|{second}.*a.nii.gz)"):
        find_predictions(tmp_path)


def test_truth_in_the_folder_of_the_predictions_is_not_the_prediction_itself(tmp_path, truth):
    write(tmp_path / "runs" / "a.nii.gz", box(10))
    with pytest.raises(BadCase, match="predicted mask itself"):
        evaluate(tmp_path / "runs", truth=tmp_path / "runs", out=tmp_path / "out")


def test_of_an_export_of_a_part_of_the_slices_only_they_are_measured(tmp_path, truth):
    folder = write_prediction(tmp_path / "a", [box(8) & (np.arange(6) < 3)], slices=[1, 2])
    export(folder, tmp_path / "masks", "a", request={"slices": "1:3"})
    cases = run(tmp_path / "masks", truth)
    assert dices(cases) == {"a": 1}
    assert "2 of 6 slices" in cases["a"]["notes"][0]


@pytest.mark.parametrize("slices", [[4, 5], [1, 40]])
def test_an_export_of_a_part_of_the_slices_to_another_grid_is_refused(tmp_path, truth, slices):
    folder = write_prediction(tmp_path / "a", [box(8)], slices=slices)
    export(folder, tmp_path / "masks", "a", request={"slices": "4:6"})
    with pytest.raises(BadCase, match="export it on the source's voxels"):
        run(tmp_path / "masks", truth)


def test_an_export_of_a_whole_run_to_a_larger_grid_is_measured_on_all_of_it(tmp_path, truth):
    folder = write_prediction(tmp_path / "a", [box(8)], slices=[0, 1, 2])
    export(folder, tmp_path / "masks", "a")
    assert len(run(tmp_path / "masks", truth)["a"]["slices"]) == SHAPE[2]


def test_labels_of_the_predictions_are_chosen_like_those_of_the_truth(tmp_path, truth, capsys):
    labelled = box(8).astype(np.uint8)
    labelled[12:][labelled[12:] > 0] = 3
    write(tmp_path / "masks" / "a.nii.gz", labelled)
    labelled[labelled == 3] = 4
    write(truth / "a.nii.gz", labelled)
    assert dices(run(tmp_path / "masks", truth, labels="4", prediction_labels="3")) == {"a": 1}
    cases = run(tmp_path / "masks", truth, labels="4", overwrite=True)
    assert dices(cases) == {"a": 2 / 3}
    assert "choose those of the predictions, too" in cases["a"]["notes"][0]


def test_a_prediction_of_negative_labels_is_refused(tmp_path, truth):
    mask = nib.load(write(tmp_path / "masks" / "a.nii.gz", box(8)))
    nib.Nifti1Image(-np.asanyarray(mask.dataobj).astype(np.int16), mask.affine).to_filename(mask.get_filename())
    with pytest.raises(BadCase, match="negative labels"):
        run(tmp_path / "masks", truth)


def test_an_exported_uncertainty_that_is_no_variance_is_said_to_be_none(tmp_path, truth):
    folder = write_prediction(tmp_path / "a", [box(8), box(8), box(10)])
    export(folder, tmp_path / "masks", "a")
    assert run(tmp_path / "masks", truth)["a"]["notes"] == []
    write(tmp_path / "masks" / "a_uncertainty.nii.gz", np.where(box(8) ^ box(10), 0.92, 0).astype(np.float32))
    assert "export its variance" in run(tmp_path / "masks", truth, overwrite=True)["a"]["notes"][0]


def test_masks_that_somebody_has_refined_are_cases_as_refined_is_never_exported(tmp_path):
    for name in ("a_refined", "a_refined_01", "refined"):
        write(tmp_path / "masks" / f"{name}.nii.gz", box(8))
    assert set(find_predictions(tmp_path / "masks")) == {"a_refined", "a_refined_01", "refined"}
