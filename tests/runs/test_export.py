"""What is exported, under which names, on which voxels; nothing is replaced unasked."""

import json
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from napari_diffseg.ensemble.summary import Measure, Rule, Summary
from napari_diffseg.errors import BadImage, BadRequest, OutputExists, OutputFailed
from napari_diffseg.imaging.volume import Volume
from napari_diffseg.runs.expected_file import read_expected
from napari_diffseg.runs.export import ExportChoice, count_files, export_run
from napari_diffseg.runs.layout import Names, Style
from napari_diffseg.runs.stored_run import StoredRun
from stored_runs import make_record

SHAPE = (6, 5, 4)
AFFINE = np.array([[-2.0, 0, 0, 3], [0, -1, 0, 4], [0, 0, 3, 5], [0, 0, 0, 1]])
STACK = np.random.default_rng(0).random((4, 1, *SHAPE)) > 0.6


def make_run(folder, *, case="case_1", labels=("lesion",), stack=STACK):
    folder.mkdir(parents=True)
    (folder / "run.json").write_text('{"any": "thing"}')
    record = make_record(case=case, recipe={"labels": labels}, slices=(0, 1, 2, 3), files={"t1": "case_1_t1.nii.gz"})
    grid = Volume(np.zeros(SHAPE, np.uint8), AFFINE, None, None, ())
    return StoredRun(folder, record, grid, dict(enumerate(stack)))


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path / "run")


def names_in(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def load(path):
    return np.asanyarray(nib.load(path).dataobj)


def test_everything_is_written_on_the_sources_voxels(run, tmp_path):
    told = list(export_run(run, tmp_path / "out", ExportChoice()))
    out = tmp_path / "out"
    members = [f"case_1_member-{n:03d}.nii.gz" for n in (1, 2, 3, 4)]
    assert names_in(out) == sorted(
        ["case_1_mask.nii.gz", "case_1_mean.nii.gz", "case_1_uncertainty.nii.gz", "case_1_run.json", *members]
    )
    assert len(told) == count_files(run, ExportChoice()) == 8
    np.testing.assert_array_equal(load(out / "case_1_mask.nii.gz"), STACK[:, 0].mean(0) > 0.5)
    np.testing.assert_allclose(load(out / "case_1_mean.nii.gz"), STACK[:, 0].mean(0))
    np.testing.assert_allclose(load(out / "case_1_uncertainty.nii.gz"), STACK[:, 0].var(0, ddof=1), atol=1e-6)
    np.testing.assert_array_equal(load(out / "case_1_member-003.nii.gz"), STACK[2, 0])
    np.testing.assert_allclose(nib.load(out / "case_1_mask.nii.gz").affine, AFFINE)
    assert (out / "case_1_run.json").read_text() == '{"any": "thing"}'


def test_the_mask_and_the_uncertainty_are_those_of_the_chosen_summary(run, tmp_path):
    summary = Summary(Rule.MEAN, 0.2, Measure.DISAGREEMENT)
    list(export_run(run, tmp_path, ExportChoice(what=("mask", "uncertainty"), summary=summary)))
    np.testing.assert_array_equal(load(tmp_path / "case_1_mask.nii.gz"), STACK[:, 0].mean(0) > 0.2)
    expected = 2 * STACK[:, 0].var(0, ddof=1)
    np.testing.assert_allclose(load(tmp_path / "case_1_uncertainty.nii.gz"), expected, atol=1e-6)


def test_the_probability_is_smoothed_as_the_run_was_or_as_is_asked(run, tmp_path):
    smooth = replace(run, record=run.record.model_copy(update={"smoothing_mm": 2.0}))
    for name, of, asked in (("own", smooth, None), ("asked", run, 2.0), ("none", smooth, 0.0)):
        summary = Summary(Rule.PROBABILITY, smoothing_mm=asked)
        list(export_run(of, tmp_path / name, ExportChoice(what=("mask", "mean", "probability"), summary=summary)))
        np.testing.assert_array_equal(load(tmp_path / name / "case_1_mean.nii.gz"), STACK[:, 0].mean(0, dtype="f4"))
    own, asked = (load(tmp_path / name / "case_1_probability.nii.gz") for name in ("own", "asked"))
    np.testing.assert_array_equal(own, smooth.ensemble().probability()[0])
    np.testing.assert_array_equal(asked, own)
    assert not (tmp_path / "none" / "case_1_probability.nii.gz").exists()
    np.testing.assert_array_equal(load(tmp_path / "own" / "case_1_mask.nii.gz"), own > 0.5)


def test_on_a_finer_grid_masks_stay_whole_numbers_and_maps_are_linear(run, tmp_path):
    half = AFFINE @ np.diag([0.5, 1, 1, 1])
    like = Volume(np.zeros((11, 5, 4), np.uint8), half, None, None, ())
    list(export_run(run, tmp_path, ExportChoice(what=("mean", "members"), like=like)))
    mean = STACK[:, 0].mean(0)
    found = load(tmp_path / "case_1_mean.nii.gz")
    assert found.shape == (11, 5, 4)
    np.testing.assert_allclose(found[::2], mean, atol=1e-6)
    np.testing.assert_allclose(found[1::2], (mean[:-1] + mean[1:]) / 2, atol=1e-6)
    np.testing.assert_array_equal(load(tmp_path / "case_1_member-001.nii.gz")[::2], STACK[0, 0])
    np.testing.assert_allclose(nib.load(tmp_path / "case_1_mean.nii.gz").affine, half)


def test_as_a_bids_derivative(tmp_path):
    run = make_run(tmp_path / "run", case="sub-07_ses-pre_x")
    out = tmp_path / "out"
    list(export_run(run, out, ExportChoice(what=("mask", "mean"), style=Style.BIDS)))
    stem = "sub-07/ses-pre/anat/sub-07_ses-pre_desc-diffseg"
    assert names_in(out) == sorted(
        [".bidsignore", "dataset_description.json", f"{stem}_run.json"]
        + [f"{stem}_{suffix}{end}" for suffix in ("mask", "probseg") for end in (".json", ".nii.gz")]
    )
    assert json.loads((out / "dataset_description.json").read_text())["DatasetType"] == "derivative"
    sidecar = json.loads((out / f"{stem}_mask.json").read_text())
    assert (sidecar["Manual"], sidecar["Rule"], sidecar["Members"]) == (False, "majority", 4)
    assert sidecar["Sources"] == ["case_1_t1.nii.gz"]


def test_a_second_case_keeps_the_description_of_the_dataset(run, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "dataset_description.json").write_text("{}")
    list(export_run(run, tmp_path / "out", ExportChoice(what=("mask",), style=Style.BIDS)))
    assert (tmp_path / "out" / "dataset_description.json").read_text() == "{}"
    assert (tmp_path / "out/sub-case1/anat/sub-case1_desc-diffseg_mask.nii.gz").exists()


def test_nothing_is_written_when_one_file_is_there_already(run, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "case_1_uncertainty.nii.gz").write_text("mine")
    with pytest.raises(OutputExists, match=r"case_1_uncertainty.nii.gz exist.* allow overwriting"):
        list(export_run(run, out, ExportChoice()))
    assert names_in(out) == ["case_1_uncertainty.nii.gz"]
    list(export_run(run, out, ExportChoice(overwrite=True)))
    assert load(out / "case_1_uncertainty.nii.gz").shape == SHAPE


def test_two_channels_have_two_names(tmp_path):
    run = make_run(tmp_path / "run", labels=("whole tumour", "core"), stack=np.concatenate([STACK, STACK], axis=1))
    list(export_run(run, tmp_path / "out", ExportChoice(what=("mask",))))
    assert names_in(tmp_path / "out") == [
        "case_1_mask_core.nii.gz",
        "case_1_mask_whole-tumour.nii.gz",
        "case_1_run.json",
    ]
    bids = Names("x", run.labels, Style.BIDS).of("mask")
    assert [p.name for p in bids] == ["sub-x_label-wholetumour_desc-diffseg_mask", "sub-x_label-core_desc-diffseg_mask"]


def test_one_member_has_no_uncertainty(tmp_path):
    run = make_run(tmp_path / "run", stack=STACK[:1])
    list(export_run(run, tmp_path / "out", ExportChoice(what=("uncertainty", "mean"))))
    assert names_in(tmp_path / "out") == ["case_1_mean.nii.gz", "case_1_run.json"]


@pytest.mark.parametrize(
    "pattern", ["{case}", "{what}/x", "../{what}", "{what}_{other}", "{what", ".{what}", "{what!r}"]
)
def test_a_pattern_that_cannot_name_files_is_refused_with_an_example(pattern):
    with pytest.raises(BadRequest, match="give one such as"):
        Names("case_1", ("lesion",), pattern=pattern)


def test_where_one_thing_is_written_the_case_is_name_enough_and_what_goes_beside_says_what_it_is(run, tmp_path):
    list(export_run(run, tmp_path / "out", ExportChoice(what=("mask",), pattern="{case}")))
    assert names_in(tmp_path / "out") == ["case_1.nii.gz", "case_1_run.json"]


@pytest.mark.parametrize(
    ("what", "labels", "pattern"),
    [
        (("mask", "mean"), ("lesion",), "{case}"),
        (("members",), ("lesion",), "{case}"),
        (("mask",), ("whole tumour", "core"), "{case}"),
        (("mask",), ("lesion",), "x"),
    ],
)
def test_the_case_is_no_name_for_several_files(tmp_path, what, labels, pattern):
    run = make_run(tmp_path / "run", labels=labels, stack=np.concatenate([STACK] * len(labels), axis=1))
    with pytest.raises(BadRequest, match=r"needs (\{what\}|\{case\} or \{what\})"):
        list(export_run(run, tmp_path / "out", ExportChoice(what=what, pattern=pattern)))
    assert not (tmp_path / "out").exists()


def test_a_place_that_cannot_be_made_is_one_sentence(run, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputFailed, match="cannot be made"):
        list(export_run(run, tmp_path / "file" / "out", ExportChoice()))


def test_the_folder_of_the_run_itself_is_left_alone(run):
    with pytest.raises(BadRequest, match="where the run itself is kept"):
        list(export_run(run, run.folder, ExportChoice(overwrite=True)))
    assert names_in(run.folder) == ["run.json"]


def test_a_case_name_with_a_point_or_a_slash_stays_one_name():
    names = Names("a/b.5", ("lesion",))
    assert str(names.record) == "a_b.5_run.json"
    assert [str(p) for p in names.of("member", number=0)] == ["a_b.5_member-001"]


def test_nothing_at_all_is_no_export():
    with pytest.raises(BadRequest, match="Nothing to export"):
        ExportChoice(what=())


def test_the_expected_mask_goes_along_where_the_run_has_it(run, tmp_path):
    choice = ExportChoice(what=("mask", "expected"), style=Style.BIDS)
    assert not any("Expected" in path.name for path in export_run(run, tmp_path / "without", choice))
    expected = np.linspace(0, 1, np.prod(SHAPE), dtype=np.float32).reshape(SHAPE)
    nib.save(nib.Nifti1Image(expected, AFFINE), run.folder / "expected.nii.gz")
    run = replace(run, expected=read_expected([run.folder / "expected.nii.gz"], run.started))
    assert len(list(export_run(run, tmp_path / "out", choice))) == count_files(run, choice) == 3
    out = tmp_path / "out/sub-case1/anat/sub-case1_desc-diffsegExpected_probseg.nii.gz"
    np.testing.assert_allclose(load(out), expected)


def test_an_expected_mask_of_another_grid_is_refused(run):
    path = run.folder / "expected.nii.gz"
    nib.save(nib.Nifti1Image(np.ones((2, 2, 2), np.float32) / 2, AFFINE), path)
    with pytest.raises(BadImage, match=r"expected\.nii\.gz has another shape"):
        read_expected([path], run.started)
