"""What the maps on disk are made of: the members, the one-step estimate, and the checkpoint's rule and smoothing."""

import json
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from kept_runs import keep, load, make_folder
from napari_diffseg.ensemble.summary import Summary
from napari_diffseg.errors import BadRequest
from napari_diffseg.runs.export import ExportChoice, export_run
from napari_diffseg.runs.keep import keep_run
from napari_diffseg.runs.layout import Style
from napari_diffseg.runs.stored_run import read_run
from napari_diffseg.segmenting.segmenter import LocalSegmenter


@pytest.fixture
def smooth(tiny_checkpoint):
    """The tiny checkpoint, whose masks are by a smoothed probability."""
    update = {"smoothing_mm": 1.5, "rule": "probability"}
    return replace(tiny_checkpoint, recipe=tiny_checkpoint.recipe.model_copy(update=update))


def test_a_run_is_summed_up_as_its_checkpoint_says_and_read_back_alike(tiny_case, smooth, tmp_path):
    keep(make_folder(tmp_path / "run", tiny_case, smooth), smooth)
    mean, mask, probability = (load(tmp_path / "run" / f"{what}.nii.gz") for what in ("mean", "mask", "probability"))
    stored = read_run(tmp_path / "run")
    np.testing.assert_array_equal(stored.ensemble().probability()[0], probability)
    np.testing.assert_array_equal(mask, probability > 0.5)
    np.testing.assert_array_equal(mean, np.mean([m[0] for m in stored.members.values()], axis=0).astype(np.float32))
    assert np.abs(mean - probability).max() > 0.05
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (record["smoothing_mm"], record["rule"]) == (1.5, "probability")
    said = nib.load(tmp_path / "run" / "mask.nii.gz").header["descrip"].item().decode()
    assert said == record["maps"]["mask"] == "mask: smoothed probability, 1.5 mm, of 3 members, > 0.5"


def test_members_of_another_smoothing_are_the_same_and_can_be_added_to(tiny_case, tiny_checkpoint, smooth, tmp_path):
    keep(make_folder(tmp_path / "run", tiny_case, tiny_checkpoint, members=2), tiny_checkpoint)
    keep(make_folder(tmp_path / "run", tiny_case, smooth), smooth, resume=True)
    keep(make_folder(tmp_path / "whole", tiny_case, smooth), smooth)
    for name in ("mask", "mean", "uncertainty", "probability", "members/member-001"):
        np.testing.assert_array_equal(
            load(tmp_path / "run" / f"{name}.nii.gz"), load(tmp_path / "whole" / f"{name}.nii.gz")
        )


def test_a_finished_run_is_summed_up_anew_where_another_smoothing_is_asked(
    tiny_case, tiny_checkpoint, smooth, tmp_path
):
    keep(make_folder(tmp_path / "run", tiny_case, tiny_checkpoint), tiny_checkpoint)
    folder = make_folder(tmp_path / "run", tiny_case, smooth)
    assert make_folder(tmp_path / "run", tiny_case, tiny_checkpoint).is_complete()
    assert not folder.is_complete()
    keep(folder, smooth, resume=True)
    assert folder.is_complete()
    np.testing.assert_array_equal(
        load(tmp_path / "run" / "probability.nii.gz"), read_run(tmp_path / "run").ensemble().probability()[0]
    )
    assert json.loads((tmp_path / "run" / "run.json").read_text())["smoothing_mm"] == 1.5


def test_the_expected_mask_is_there_before_a_member_is_and_the_same_whatever_the_resume(tiny_case, smooth, tmp_path):
    keep(make_folder(tmp_path / "once", tiny_case, smooth), smooth)
    whole = load(tmp_path / "once" / "expected.nii.gz")
    cut = make_folder(tmp_path / "cut", tiny_case, smooth, members=1)
    keep(cut, smooth, stop_after=2)  # started, first step, what it expects
    assert not cut.finished_members()
    np.testing.assert_allclose(load(tmp_path / "cut" / "expected.nii.gz"), whole, atol=1e-5)
    before = (tmp_path / "once" / "expected.nii.gz").read_bytes()
    keep(make_folder(tmp_path / "once", tiny_case, smooth, members=5), smooth, resume=True)
    assert (tmp_path / "once" / "expected.nii.gz").read_bytes() == before
    assert 0 < whole.max() <= 1
    keep(make_folder(tmp_path / "five", tiny_case, smooth, members=5), smooth)
    for name in ("mask", "mean", "probability"):  # by the one-step estimate of the first part
        np.testing.assert_array_equal(
            load(tmp_path / "once" / f"{name}.nii.gz"), load(tmp_path / "five" / f"{name}.nii.gz")
        )


def test_a_damaged_expected_mask_is_refused_until_it_is_deleted_and_then_done_without(tiny_case, smooth, tmp_path):
    folder = tmp_path / "run"
    keep(make_folder(folder, tiny_case, smooth, members=2), smooth)
    (folder / "expected.nii.gz").write_bytes(b"broken")
    more = make_folder(folder, tiny_case, smooth, members=3)
    with pytest.raises(BadRequest, match=r"expected\.nii\.gz cannot be taken over .*Delete it"):
        keep(more, smooth, resume=True)
    (folder / "expected.nii.gz").unlink()
    keep(more, smooth, resume=True)
    assert not (folder / "expected.nii.gz").exists()  # the third member's would be another
    assert json.loads((folder / "run.json").read_text())["smoothed_by"] == "share of the members, c = min(2 K, 10)"
    stored = read_run(folder)
    np.testing.assert_array_equal(stored.ensemble().probability()[0], load(folder / "probability.nii.gz"))


def test_a_run_cut_short_before_all_is_expected_ends_as_one_in_one_go(tiny_case, smooth, tmp_path):
    cut = make_folder(tmp_path / "cut", tiny_case, smooth, members=2, batch_size=1)
    keep(cut, smooth, stop_after=3)
    assert not (tmp_path / "cut" / "expected.nii.gz").exists()
    keep(make_folder(tmp_path / "cut", tiny_case, smooth, members=2, batch_size=1), smooth, resume=True)
    keep(make_folder(tmp_path / "whole", tiny_case, smooth, members=2, batch_size=1), smooth)
    for name in ("expected", "mask", "mean", "uncertainty", "probability"):
        np.testing.assert_array_equal(
            load(tmp_path / "cut" / f"{name}.nii.gz"), load(tmp_path / "whole" / f"{name}.nii.gz")
        )


def test_maps_of_a_run_that_were_made_before_it_was_known_what_it_expects_are_made_anew(tiny_case, smooth, tmp_path):
    folder = make_folder(tmp_path / "run", tiny_case, smooth)
    keep(folder, smooth)
    assert folder.is_complete()
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record.pop("smoothed_by") == "what the run expected, c = min(2 K, 10)"
    (tmp_path / "run" / "run.json").write_text(json.dumps(record))
    assert not folder.is_complete()
    keep(folder, smooth, resume=True)
    assert folder.is_complete()


@pytest.mark.parametrize("word", [None, "what the run expected"])
def test_a_run_whose_surroundings_had_another_weight_is_read_with_a_note(tiny_case, smooth, tmp_path, word):
    keep(make_folder(tmp_path / "run", tiny_case, smooth, members=1), smooth)
    assert read_run(tmp_path / "run").notes == ()
    path = tmp_path / "run" / "run.json"
    record = json.loads(path.read_text()) | {"smoothed_by": word}
    path.write_text(json.dumps({key: value for key, value in record.items() if value is not None}))
    (note,) = read_run(tmp_path / "run").notes
    assert "another weight in the smoothed probability" in note
    path.write_text(json.dumps(record | {"smoothed_by": "", "smoothing_mm": 0.0}))
    assert read_run(tmp_path / "run").notes == (), "nothing is smoothed in it"


def test_an_expected_mask_that_is_zero_throughout_is_taken_over(tiny_case, tiny_checkpoint, tmp_path):
    folder = make_folder(tmp_path / "run", tiny_case, tiny_checkpoint, members=2)
    keep(folder, tiny_checkpoint)
    path = tmp_path / "run" / "expected.nii.gz"
    nib.save(nib.Nifti1Image(np.zeros(nib.load(path).shape, np.float32), nib.load(path).affine), path)
    keep(make_folder(tmp_path / "run", tiny_case, tiny_checkpoint, members=3), tiny_checkpoint, resume=True)
    assert not read_run(tmp_path / "run").expected.probability().any()


def test_smoothing_that_is_longer_across_slices_is_kept_with_the_run_and_made_anew_where_it_changes(
    tiny_case, smooth, tmp_path
):
    longer = replace(smooth, recipe=smooth.recipe.model_copy(update={"smoothing_slices": 3.0}))
    keep(make_folder(tmp_path / "run", tiny_case, smooth), smooth)
    before = load(tmp_path / "run" / "probability.nii.gz")
    again = make_folder(tmp_path / "run", tiny_case, longer)
    assert not again.is_complete()
    keep(again, longer, resume=True)
    after = load(tmp_path / "run" / "probability.nii.gz")
    assert again.is_complete()
    assert np.abs(after - before).max() > 0.01
    stored = read_run(tmp_path / "run")
    assert stored.started.smoothing_slices == 3.0
    np.testing.assert_allclose(stored.ensemble().probability()[0], after, atol=1e-5)


def same_maps(one, other):
    for name in ("expected", "refined", "mask", "mean", "probability"):
        np.testing.assert_array_equal(load(one / f"{name}.nii.gz"), load(other / f"{name}.nii.gz"))


def test_a_refined_estimate_is_kept_with_the_run_and_read_back(tiny_case, refining, tmp_path):
    keep(make_folder(tmp_path / "run", tiny_case, refining), refining)
    stored = read_run(tmp_path / "run")
    np.testing.assert_array_equal(stored.ensemble().probability()[0], load(tmp_path / "run" / "probability.nii.gz"))
    np.testing.assert_array_equal(stored.expected.refined()[0], load(tmp_path / "run" / "refined.nii.gz"))
    assert stored.record.refined_by == stored.started.refined_by == "flair"
    assert stored.record.smoothed_by == "what the run expected, refined by flair, c = min(2 K, 10)"
    assert stored.notes == ()
    assert make_folder(tmp_path / "run", tiny_case, refining).is_complete()


@pytest.mark.parametrize(("stop_after", "batch_size"), [(2, 1), (6, 1), (14, 1), (2, 64), (3, 64)])
def test_a_run_that_refines_ends_the_same_wherever_it_was_cut_short(
    tiny_case, refining, tmp_path, stop_after, batch_size
):
    settings = {"members": 2, "batch_size": batch_size}
    keep(make_folder(tmp_path / "cut", tiny_case, refining, **settings), refining, stop_after=stop_after)
    keep(make_folder(tmp_path / "cut", tiny_case, refining, **settings), refining, resume=True)
    keep(make_folder(tmp_path / "whole", tiny_case, refining, **settings), refining)
    same_maps(tmp_path / "cut", tmp_path / "whole")


def test_a_run_that_was_killed_between_its_files_is_refined_from_what_is_there(tiny_case, refining, tmp_path):
    keep(make_folder(tmp_path / "whole", tiny_case, refining), refining)
    keep(make_folder(tmp_path / "run", tiny_case, refining, members=2), refining)
    (tmp_path / "run" / "refined.nii.gz").unlink()
    keep(make_folder(tmp_path / "run", tiny_case, refining), refining, resume=True)
    same_maps(tmp_path / "run", tmp_path / "whole")


def test_a_run_is_refined_afterwards_or_no_longer_where_its_recipe_says_otherwise(tiny_case, refining, tmp_path):
    smooth = replace(refining, recipe=refining.recipe.model_copy(update={"refine_by": None}))
    keep(make_folder(tmp_path / "refined", tiny_case, refining), refining)
    keep(make_folder(tmp_path / "plain", tiny_case, smooth), smooth)
    plain = load(tmp_path / "plain" / "probability.nii.gz")
    again = make_folder(tmp_path / "plain", tiny_case, refining)
    assert not again.is_complete()
    keep(again, refining, resume=True)
    assert again.is_complete()
    same_maps(tmp_path / "plain", tmp_path / "refined")
    back = make_folder(tmp_path / "refined", tiny_case, smooth)
    assert not back.is_complete()
    keep(back, smooth, resume=True)
    assert back.is_complete()
    np.testing.assert_array_equal(load(tmp_path / "refined" / "probability.nii.gz"), plain)
    assert read_run(tmp_path / "refined").record.refined_by == ""


def test_a_damaged_refined_estimate_is_left_out_with_a_note(tiny_case, refining, tmp_path):
    keep(make_folder(tmp_path / "run", tiny_case, refining, members=1), refining)
    (tmp_path / "run" / "refined.nii.gz").write_bytes(b"broken")
    stored = read_run(tmp_path / "run")
    assert "one-step estimate is left out" in stored.notes[0]
    assert stored.ensemble().probability().any()


def with_recipe(checkpoint, **changes):
    return replace(checkpoint, recipe=checkpoint.recipe.model_copy(update=changes))


@pytest.mark.parametrize("changes", [{"refine_by": "t2"}, {"smoothing_mm": 3.0}])
def test_a_run_that_is_refined_otherwise_is_what_it_would_be_from_the_beginning(tiny_case, refining, tmp_path, changes):
    other = with_recipe(refining, **changes)
    keep(make_folder(tmp_path / "run", tiny_case, refining), refining)
    keep(make_folder(tmp_path / "run", tiny_case, other), other, resume=True)
    keep(make_folder(tmp_path / "whole", tiny_case, other), other)
    same_maps(tmp_path / "run", tmp_path / "whole")


def test_a_refined_estimate_that_a_run_no_longer_has_does_not_stay(tiny_case, refining, tmp_path):
    plain = with_recipe(refining, refine_by=None)
    keep(make_folder(tmp_path / "run", tiny_case, refining), refining)
    keep(make_folder(tmp_path / "run", tiny_case, plain), plain, resume=True)
    assert not (tmp_path / "run" / "refined.nii.gz").exists()
    assert "refined" not in read_run(tmp_path / "run").record.maps


def test_a_run_that_was_killed_is_shown_as_it_will_be(tiny_case, refining, tmp_path):
    folder = make_folder(tmp_path / "run", tiny_case, refining, members=1)
    events = keep_run(LocalSegmenter(refining, preview_interval_s=None), folder)
    while not folder.holds_member(0):  # as on disk at this moment
        next(events)
    shown = read_run(tmp_path / "run").ensemble().probability()
    for _ in events:
        pass
    np.testing.assert_array_equal(shown[0], load(tmp_path / "run" / "probability.nii.gz"))


def test_a_run_of_slices_without_brain_is_whole_with_nothing_to_refine(tiny_case, refining, tmp_path):
    above = np.arange(tiny_case.shape[2]) > 0
    volumes = {m: replace(volume, data=volume.data * above) for m, volume in tiny_case.volumes.items()}
    folder = make_folder(tmp_path / "run", replace(tiny_case, volumes=volumes), refining, slices="0:1")
    keep(folder, refining)
    assert folder.is_complete()
    assert read_run(tmp_path / "run").notes == ()


def test_a_damaged_refined_estimate_is_made_anew_when_the_run_goes_on(tiny_case, refining, tmp_path):
    keep(make_folder(tmp_path / "whole", tiny_case, refining), refining)
    keep(make_folder(tmp_path / "run", tiny_case, refining, members=2), refining)
    (tmp_path / "run" / "refined.nii.gz").write_bytes(b"broken")
    keep(make_folder(tmp_path / "run", tiny_case, refining), refining, resume=True)
    same_maps(tmp_path / "run", tmp_path / "whole")


def test_without_its_estimate_a_run_has_no_refined_one_either(tiny_case, refining, tmp_path):
    keep(make_folder(tmp_path / "run", tiny_case, refining, members=2), refining)
    (tmp_path / "run" / "expected.nii.gz").unlink()
    keep(make_folder(tmp_path / "run", tiny_case, refining), refining, resume=True)
    record = read_run(tmp_path / "run").record
    assert ("refined" in record.maps, record.smoothed_by) == (False, "share of the members, c = min(2 K, 10)")


def test_what_is_exported_of_a_refined_run_is_refined_unless_it_is_not_to_be(tiny_case, refining, tmp_path):
    keep(make_folder(tmp_path / "run", tiny_case, refining), refining)
    run = read_run(tmp_path / "run")
    masks = {}
    for refined in (True, False):
        choice = ExportChoice(what=("mask", "probability"), summary=Summary(refined=refined), style=Style.BIDS)
        assert list(export_run(run, tmp_path / f"out-{refined}", choice))
        [told] = (tmp_path / f"out-{refined}").rglob("*diffsegProbability*.json")
        assert json.loads(told.read_text()).get("OneStepEstimateRefinedBy") == ("flair" if refined else None)
        masks[refined] = load(next((tmp_path / f"out-{refined}").rglob("*diffsegProbability*.nii.gz")))
    np.testing.assert_array_equal(masks[True], load(tmp_path / "run" / "probability.nii.gz"))
    assert np.abs(masks[True] - masks[False]).max() > 1e-3
