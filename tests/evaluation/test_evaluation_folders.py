from __future__ import annotations

import numpy as np
import pytest
from evaluation_folders import AFFINE, SHAPE, box, write, write_prediction

from napari_diffseg.errors import BadCase, GridMismatch
from napari_diffseg.evaluation.cases.case_scores import score_case
from napari_diffseg.evaluation.cases.find_predictions import find_predictions
from napari_diffseg.evaluation.cases.find_truth import TruthFolder, find_truth
from napari_diffseg.evaluation.cases.predicted import read_prediction
from napari_diffseg.evaluation.cases.prediction_files import PredictionFiles
from napari_diffseg.evaluation.cases.truth import read_truth
from napari_diffseg.evaluation.metrics.region import region_around
from napari_diffseg.runs.layout import RunFiles


@pytest.fixture
def predicted(tmp_path):
    folder = write_prediction(tmp_path / "runs" / "a", [box(8), box(9), box(8)])
    return read_prediction(PredictionFiles(RunFiles(folder)), case_id="a")


def test_a_run_is_read_back_as_it_was_written(predicted):
    np.testing.assert_array_equal(predicted.mask, box(8))
    np.testing.assert_array_equal(predicted.members[1], box(9))
    assert (len(predicted.members), predicted.member_count, predicted.slice_axis) == (3, 3, 2)
    assert predicted.mean[16, 8, 2] == pytest.approx(1 / 3)
    assert predicted.notes == ()


def test_volumes_on_a_sheared_grid_are_those_of_its_voxels_and_it_is_said(tmp_path):
    slanted = AFFINE @ np.array([[1, 0.5, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    folder = tmp_path / "a"
    write_prediction(folder, [box(8)])
    for name in ("mask", "mean", "members/member-001"):
        write(folder / f"{name}.nii.gz", box(8), slanted)
    found = read_prediction(PredictionFiles(RunFiles(folder)), case_id="a")
    truth = read_truth([write(tmp_path / "truth.nii.gz", box(8), slanted)], found.grid, case_id="a")
    scores = score_case(found, truth, region_around(box(8), found.grid.spacing_mm), bins=5)
    assert scores.overlap.volume_ml == pytest.approx(box(8).sum() * 2 / 1000)
    assert any("sheared" in note for note in scores.notes)


def test_members_come_by_number_beyond_a_thousand(tmp_path):
    folder = write_prediction(tmp_path / "a", [box(8)])
    write(folder / "members" / "member-1000.nii.gz", box(2))
    write(folder / "members" / "member-999.nii.gz", box(4))
    members = read_prediction(PredictionFiles(RunFiles(folder)), case_id="a").members
    np.testing.assert_array_equal(members, [box(8), box(4), box(2)])


def test_a_run_of_a_few_slices_counts_on_those_only(tmp_path):
    folder = write_prediction(tmp_path / "a", [box(8), box(8)], slices=[1, 2])
    found = read_prediction(PredictionFiles(RunFiles(folder)), case_id="a")
    assert found.covered(found.mask).shape == (*SHAPE[:2], 2)
    assert found.covered(found.members).shape == (2, *SHAPE[:2], 2)
    assert "2 of 6 slices" in found.notes[0]


def test_maps_that_are_zero_everywhere_are_read(tmp_path):
    nothing = np.zeros(SHAPE, bool)
    found = read_prediction(
        PredictionFiles(RunFiles(write_prediction(tmp_path / "a", [nothing, nothing]))), case_id="a"
    )
    assert found.uncertainty is not None
    assert not found.uncertainty.any()


def test_one_of_several_masks_must_be_named(tmp_path):
    folder = write_prediction(tmp_path / "a", [box(8)], tail="_edema")
    write_prediction(folder, [box(3)], tail="_core")
    with pytest.raises(BadCase, match=r"core, edema: name the channel"):
        read_prediction(PredictionFiles(RunFiles(folder)), case_id="a")
    found = read_prediction(PredictionFiles(RunFiles(folder)), case_id="a", channel="core")
    np.testing.assert_array_equal(found.mask, box(3))
    np.testing.assert_array_equal(found.members, [box(3)])


def test_a_channel_of_a_run_of_one_mask_is_refused_as_there_is_none_to_name(tmp_path):
    folder = write_prediction(tmp_path / "a", [box(8)])
    with pytest.raises(BadCase, match=r"one mask and no channel foo: name no channel"):
        read_prediction(PredictionFiles(RunFiles(folder)), case_id="a", channel="foo")


def test_a_channel_that_is_not_there_is_refused_with_those_that_are(tmp_path):
    folder = write_prediction(tmp_path / "a", [box(8)])
    write(folder / "mask_corrected.nii.gz", box(3))
    with pytest.raises(BadCase, match=r"no channel foo, but corrected: name one"):
        read_prediction(PredictionFiles(RunFiles(folder)), case_id="a", channel="foo")


def test_a_mask_corrected_by_hand_beside_the_results_is_not_taken_for_theirs(tmp_path):
    folder = write_prediction(tmp_path / "a", [box(8)])
    write(folder / "mask_corrected.nii.gz", box(3))
    np.testing.assert_array_equal(read_prediction(PredictionFiles(RunFiles(folder)), case_id="a").mask, box(8))
    by_name = read_prediction(PredictionFiles(RunFiles(folder)), case_id="a", channel="corrected")
    np.testing.assert_array_equal(by_name.mask, box(3))


def test_a_mask_corrected_by_hand_beside_one_named_channel_is_not_taken_for_its(tmp_path):
    folder = write_prediction(tmp_path / "a", [box(8)], tail="_core")
    write(folder / "mask_corrected.nii.gz", box(3))
    np.testing.assert_array_equal(read_prediction(PredictionFiles(RunFiles(folder)), case_id="a").mask, box(8))


def test_an_unfinished_run_is_said_to_be_one(tmp_path):
    folder = write_prediction(tmp_path / "a", [box(8)], status="running")
    assert "not finished" in read_prediction(PredictionFiles(RunFiles(folder)), case_id="a").notes[0]
    (folder / "mask.nii.gz").unlink()
    with pytest.raises(BadCase, match="go on with the run"):
        read_prediction(PredictionFiles(RunFiles(folder)), case_id="a")


def test_a_member_on_another_grid_is_refused(tmp_path):
    folder = write_prediction(tmp_path / "a", [box(8)])
    write(folder / "members" / "member-002.nii.gz", box(8, shape=(24, 20, 7)))
    with pytest.raises(GridMismatch, match=r"member-002.*24 x 20 x 7.*24 x 20 x 6"):
        read_prediction(PredictionFiles(RunFiles(folder)), case_id="a")


def test_a_folder_of_runs_one_run_and_neither(tmp_path):
    write_prediction(tmp_path / "runs" / "b", [box(8)])
    write_prediction(tmp_path / "runs" / "a", [box(8)])
    (tmp_path / "runs" / "notes").mkdir()
    assert list(find_predictions(tmp_path / "runs")) == ["a", "b"]
    assert list(find_predictions(tmp_path / "runs" / "b")) == ["b"]
    with pytest.raises(BadCase, match="holds no predictions"):
        find_predictions(tmp_path / "runs" / "notes")
    with pytest.raises(BadCase, match="cannot be read"):
        find_predictions(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["a/a_seg.nii.gz", "a/BraTS_17-seg.nii.gz", "a/a.nii.gz", "a_seg.nii.gz", "a.nii.gz"])
def test_the_truth_is_found_under_its_usual_names(tmp_path, name):
    expected = write(tmp_path / name, box(8))
    write(tmp_path / "b_seg.nii.gz", box(8))
    write(expected.parent / "a_flair.nii.gz", box(8))
    assert find_truth(tmp_path, "a") == (expected,)


def test_several_readers_go_before_the_reference_in_their_order(tmp_path):
    write(tmp_path / "a" / "a_seg.nii.gz", box(8))
    readers = [write(tmp_path / "a" / f"a_reader{k}.nii.gz", box(8)) for k in (1, 2, 10)]
    assert find_truth(tmp_path, "a") == tuple(readers)


def test_readers_by_a_pattern_of_ones_own(tmp_path):
    write(tmp_path / "a_seg.nii.gz", box(8))
    readers = [write(tmp_path / f"a_rater{k}.nii.gz", box(8)) for k in (1, 2)]
    assert find_truth(tmp_path, "a", reader_pattern="{case}_rater*") == tuple(readers)
    with pytest.raises(BadCase, match="a_annotator"):
        find_truth(tmp_path, "a", reader_pattern="a_annotator*")


def test_a_truth_that_is_missing_or_ambiguous_is_refused(tmp_path):
    with pytest.raises(BadCase, match=r"Case a: .*a_seg"):
        find_truth(tmp_path, "a")
    for name in ("x_seg", "y_seg"):
        write(tmp_path / "a" / f"{name}.nii.gz", box(8))
    with pytest.raises(BadCase, match=r"x_seg.*y_seg"):
        find_truth(tmp_path, "a")


def test_cases_with_truth_are_folders_and_files(tmp_path):
    write(tmp_path / "a" / "a_seg.nii.gz", box(8))
    write(tmp_path / "b_seg.nii.gz", box(8))
    write(tmp_path / "c" / "c_flair.nii.gz", box(8))
    assert TruthFolder(tmp_path).cases() == {"a", "b"}


def test_cases_with_truth_are_masks_that_are_called_by_their_case_alone(tmp_path):
    for name in ("a", "b", "c_reader1", "c_reader2"):
        write(tmp_path / f"{name}.nii.gz", box(8))
    assert TruthFolder(tmp_path).cases() == {"a", "b"}
    write(tmp_path / "d_rater1.nii.gz", box(8))
    assert "d_rater1" not in TruthFolder(tmp_path, reader_pattern="{case}_rater*").cases()


def test_what_lies_beside_images_is_no_truth_unless_its_name_says_so(tmp_path):
    for name in ("a_seg", "a_flair", "atlas"):
        write(tmp_path / f"{name}.nii.gz", box(8))
    assert TruthFolder(tmp_path).cases() == {"a"}


def test_labels_are_merged_unless_told(tmp_path, predicted):
    labelled = box(8).astype(np.uint8)
    labelled[8:10][labelled[8:10] > 0] = 4
    path = write(tmp_path / "a_seg.nii.gz", labelled)
    merged = read_truth([path], predicted.grid, case_id="a")
    np.testing.assert_array_equal(merged.majority, box(8))
    told = read_truth([path], predicted.grid, case_id="a", labels=[4])
    np.testing.assert_array_equal(told.majority, box(8, width=2))


def test_readers_are_summed_up_by_strict_majority_and_share(tmp_path, predicted):
    paths = [write(tmp_path / f"a_reader{k}.nii.gz", box(x)) for k, x in ((1, 8), (2, 9))]
    truth = read_truth(paths, predicted.grid, case_id="a")
    np.testing.assert_array_equal(truth.majority, box(9, width=7))
    assert truth.share[8, 8, 2] == 0.5


def test_a_truth_of_another_shape_is_refused_with_both_grids(tmp_path, predicted):
    path = write(tmp_path / "a_seg.nii.gz", box(8, shape=(24, 20, 7)))
    with pytest.raises(GridMismatch, match=r"24 x 20 x 7 voxels.*24 x 20 x 6 voxels"):
        read_truth([path], predicted.grid, case_id="a")


def test_a_truth_elsewhere_in_space_is_refused(tmp_path, predicted):
    moved = AFFINE.copy()
    moved[0, 3] = 10
    path = write(tmp_path / "a_seg.nii.gz", box(8), moved)
    with pytest.raises(GridMismatch, match="elsewhere in space"):
        read_truth([path], predicted.grid, case_id="a")


def test_the_region_reaches_20_mm_on_each_axis_in_its_own_voxels():
    seen = np.zeros((60, 60, 30), bool)
    seen[30, 30, 15] = True
    found = region_around(seen, (1.0, 2.0, 5.0)).mask
    assert found[50, 30, 15]
    assert not found[51, 30, 15]
    assert found[30, 40, 15]
    assert not found[30, 41, 15]
    assert found[30, 30, 19]
    assert not found[30, 30, 20]
    assert not found[50, 40, 15]


def test_the_region_is_everything_where_nobody_sees_lesion():
    found = region_around(np.zeros((4, 4, 4), bool), (1.0, 1.0, 1.0))
    assert found.mask.all()
    assert "neither" in found.meaning
