"""Runs some of whose members are sampled in a second plane: their record, and how they go on."""

from dataclasses import replace

import numpy as np
import pytest

from kept_runs import keep, load, make_folder
from napari_diffseg.errors import BadRequest
from napari_diffseg.events import Sampled, SegmentRequest
from napari_diffseg.runs.identity import difference, identity_of
from napari_diffseg.runs.keep import keep_run
from napari_diffseg.runs.stored_run import read_run
from napari_diffseg.segmenting.segmenter import LocalSegmenter


def masks(folder):
    return {path.name: load(path) for path in sorted((folder / "members").glob("*.nii.gz"))}


@pytest.fixture(scope="module")
def in_one_go(two_planes, tiny_case, tmp_path_factory):
    folder = make_folder(tmp_path_factory.mktemp("whole") / "run", tiny_case, two_planes, members=4)
    keep(folder, two_planes)
    return folder


def test_a_record_says_which_members_are_of_the_second_plane(in_one_go, two_planes):
    record = in_one_go.record()
    assert record.settings["second_plane"] == "on"
    assert in_one_go.request.second_plane == "auto"
    assert (record.members, record.members_across, record.plane_across) == ((0, 1, 2, 3), (1, 3), "coronal")
    assert record.slices_across
    started = read_run(in_one_go.folder).started
    assert (started.members_across, started.plane_across) == ((1, 3), "coronal")
    assert started.slices_across == record.slices_across


@pytest.mark.parametrize("whole", [1, 2, 3])
def test_a_run_that_was_cut_short_and_one_that_gets_members_are_as_in_one_go(
    two_planes, tiny_case, tmp_path, in_one_go, whole
):
    folder = make_folder(tmp_path / "run", tiny_case, two_planes, members=3)
    events = keep_run(LocalSegmenter(two_planes, preview_interval_s=None), folder)
    for event in events:
        if isinstance(event, Sampled) and folder.holds_member(whole - 1):
            break
    next(events)  # of the member after it
    events.close()
    assert folder.finished_members() == tuple(range(whole)), "a member of the second plane comes whole, or not at all"
    assert folder.record().members_across == tuple(k for k in range(whole) if k == 1)
    more = make_folder(tmp_path / "run", tiny_case, two_planes, members=4)
    keep(more, two_planes, resume=True)
    assert more.record().members_across == (1, 3)
    assert more.record().slices_across == in_one_go.record().slices_across
    for name, mask in masks(in_one_go.folder).items():
        np.testing.assert_array_equal(masks(more.folder)[name], mask)


def test_one_member_and_more_afterwards_are_as_in_one_go(two_planes, tiny_case, tmp_path):
    recipe = two_planes.recipe.model_copy(update={"smoothing_mm": 1.5, "rule": "probability"})
    smooth = replace(two_planes, recipe=recipe)
    keep(make_folder(tmp_path / "whole", tiny_case, smooth, members=2), smooth)
    keep(make_folder(tmp_path / "run", tiny_case, smooth, members=1), smooth)
    keep(make_folder(tmp_path / "run", tiny_case, smooth, members=2), smooth, resume=True)
    for what in ("expected", "probability", "mask", "mean"):
        one, other = (load(tmp_path / folder / f"{what}.nii.gz") for folder in ("run", "whole"))
        np.testing.assert_array_equal(one, other)


def test_a_run_that_was_killed_knows_its_members_of_the_second_plane(two_planes, tiny_case, tmp_path):
    folder = make_folder(tmp_path / "run", tiny_case, two_planes, members=2)
    keep(folder, two_planes)
    before = folder.record()
    begun = before.model_copy(update={"status": "running", "members": (), "parts": ()})  # as it was at the beginning
    folder.files.record.write_text(begun.model_dump_json())
    more = make_folder(tmp_path / "run", tiny_case, two_planes, members=3)
    keep(more, two_planes, resume=True)
    assert more.record().members_across == (1,)
    assert more.record().plane_across == "coronal", "the member that was added is of the first plane"


def settings(case, checkpoint, **request):
    return identity_of(case, checkpoint, SegmentRequest(device="cpu", **request))


def test_runs_are_the_same_where_their_members_are(two_planes, tiny_checkpoint, tiny_case):
    auto, on, off = (settings(tiny_case, two_planes, second_plane=word) for word in ("auto", "on", "off"))
    assert auto == on
    assert difference(off, on) == (
        "another recipe (second_plane none, before I,L,A) and other settings (second_plane off, before on)"
    )
    without = replace(two_planes, recipe=two_planes.recipe.planes[0])
    assert settings(tiny_case, without) == settings(tiny_case, without, second_plane="on") == off
    some = settings(tiny_case, two_planes, slices="1:3")
    assert some == settings(tiny_case, two_planes, slices="1:3", second_plane="off")
    assert settings(tiny_case, two_planes, slices="1:3", second_plane="on")["settings"]["second_plane"] == "on"
    affine = tiny_case.affine @ np.diag([1, 1, 5, 1])
    thick = replace(tiny_case, volumes={m: replace(v, affine=affine) for m, v in tiny_case.volumes.items()})
    assert settings(thick, two_planes)["settings"]["second_plane"] == "off"


def test_a_run_of_before_there_were_second_planes_goes_on_without(two_planes, tiny_case, tmp_path):
    folder = make_folder(tmp_path / "run", tiny_case, two_planes, members=1, second_plane="off")
    record = {key: dict(value) if isinstance(value, dict) else value for key, value in folder.identity().items()}
    del record["settings"]["second_plane"]
    del record["recipe"]["second_plane"]
    assert difference(folder.identity(), record) == ""
    assert "second_plane on, before off" in difference(settings(tiny_case, two_planes), record)


def test_a_run_does_not_go_on_in_other_planes(two_planes, tiny_case, tmp_path, in_one_go):
    other = make_folder(in_one_go.folder, tiny_case, two_planes, members=5, second_plane="off")
    with pytest.raises(BadRequest, match="second_plane off, before on"):
        other.check_same_run()
