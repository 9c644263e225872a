"""Where the masks that people drew are found, and what is said where they are not."""

from __future__ import annotations

import pytest
from evaluation_folders import box, write, write_prediction

from napari_diffseg.errors import BadCase
from napari_diffseg.evaluation.cases.find_truth import TruthFolder, find_truth
from napari_diffseg.evaluation.run import Evaluation, run_evaluation


@pytest.mark.parametrize(
    "name",
    [
        "p1/lesion.nii.gz",
        "site/p1/p1_segm.nii.gz",
        "p1/p1_msk.nii.gz",
        "p1/masks/p1_tumorMask.nii.gz",
        "deep/er/p1/anat/GOLD_STANDARD.nii.gz",
        "labels/p1.nii.gz",
        "gt/p1_tumor_segmentation.nii.gz",
        "p1_segmentations.nii.gz",
        "all/p1_space-T1w_label-lesion_mask.nii.gz",
    ],
)
def test_the_truth_is_found_by_folder_and_by_what_its_name_says(tmp_path, name):
    expected = write(tmp_path / name, box(8))
    for other in ("p10/p10_seg.nii.gz", "p1/p1_T1_bet_mask.nii.gz", "p1/p1_lesion_probability.nii.gz"):
        write(tmp_path / other, box(4))
    assert find_truth(tmp_path, "p1") == (expected,)


def test_a_mask_that_a_machine_made_counts_only_where_there_is_no_other(tmp_path):
    auto = write(tmp_path / "p1" / "p1_automated_approx_segm.nii.gz", box(8))
    assert find_truth(tmp_path, "p1") == (auto,)
    drawn = write(tmp_path / "p1" / "p1_segm.nii.gz", box(8))
    assert find_truth(tmp_path, "p1") == (drawn,)


@pytest.mark.parametrize(
    "names",
    [
        ("p1_rater1", "p1_rater2"),
        ("ManualSegmentation_1", "ManualSegmentation_2"),
        ("p1_seg_expertA", "p1_seg_expertB"),
    ],
)
def test_masks_of_several_readers_are_known_by_the_words_for_them_and_their_consensus_is_none(tmp_path, names):
    readers = [write(tmp_path / "x" / "p1" / f"{name}.nii.gz", box(8)) for name in names]
    write(tmp_path / "x" / "p1" / "Consensus_mask.nii.gz", box(8))
    found = [path for path in find_truth(tmp_path, "p1") if "Consensus" not in path.name]
    assert found == readers


def test_masks_that_may_be_anything_are_asked_about_with_how_to_choose(tmp_path):
    for name in ("core", "edema"):
        write(tmp_path / "p1" / f"p1_{name}_mask.nii.gz", box(8))
    with pytest.raises(BadCase, match=r"p1_core_mask.nii.gz, p1_edema_mask.nii.gz could each be its truth") as caught:
        find_truth(tmp_path, "p1")
    (remedy,) = caught.value.remedies
    assert (remedy.setting, remedy.value) == ("reader_pattern", "'{case}_core_mask.nii.gz'")
    (found,) = find_truth(tmp_path, "p1", reader_pattern="{case}_core_mask.nii.gz")
    assert found.name == "p1_core_mask.nii.gz"


def test_a_pattern_is_looked_for_in_the_folders_below_and_beside_the_images(tmp_path):
    for case in ("p1", "p2"):
        for name in ("T1", "FLAIR", "lesions_drawn", "other_mask"):
            write(tmp_path / "site" / case / f"{name}.nii.gz", box(8))
    assert [p.parent.name for p in find_truth(tmp_path, "p2", reader_pattern="lesions*")] == ["p2"]


def test_where_nothing_pairs_what_is_there_is_named_and_what_helps(tmp_path):
    write(tmp_path / "X_001_segm.nii.gz", box(8))
    with pytest.raises(
        BadCase, match=r"Case p1: .* the masks there are X_001_segm.nii.gz. Call it by its case"
    ) as caught:
        find_truth(tmp_path, "p1")
    assert caught.value.remedies[0].setting == "reader_pattern"


def test_results_in_the_tree_are_no_truth(tmp_path):
    write_prediction(tmp_path / "out" / "p1", [box(8)])
    write(tmp_path / "out" / "p1" / "mask_seg.nii.gz", box(8))
    with pytest.raises(BadCase, match="no file there is called a mask"):
        find_truth(tmp_path, "p1")
    expected = write(tmp_path / "in" / "p1" / "p1_seg.nii.gz", box(8))
    assert find_truth(tmp_path, "p1") == (expected,)


def test_the_tree_that_was_segmented_is_evaluated_as_it_is(tmp_path):
    """Images as `predict` took them, their masks beside them, and the brain from the images."""
    for case in ("p1", "p2"):
        write(tmp_path / "in" / case / "anat" / "T1_N4_bet.nii.gz", box(2, width=16).astype("f4"))
        write(tmp_path / "in" / case / "anat" / "lesion_msk.nii.gz", box(8))
        write_prediction(tmp_path / "out" / case, [box(8), box(9)])
    said: list[str] = []
    done = run_evaluation(Evaluation(tmp_path / "out", tmp_path / "in", images=tmp_path / "in"), tell=said.append)
    assert [case.case for case in done.report.cases] == ["p1", "p2"], said
    assert list(done.report.without_prediction) == []


def test_looking_through_a_folder_of_many_cases_is_done_once(tmp_path, monkeypatch):
    import os

    for k in range(20):
        write(tmp_path / "deep" / f"c{k}" / "mask.nii.gz", box(8))
    walks = []
    walk = os.walk
    monkeypatch.setattr(os, "walk", lambda *args, **words: walks.append(args) or walk(*args, **words))
    truth = TruthFolder(tmp_path)
    assert all(len(truth.of(f"c{k}")) == 1 for k in range(20))
    assert len(walks) == 1
