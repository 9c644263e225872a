"""A run that is read back from its folder is the run that was; a broken folder is one sentence."""

import json

import nibabel as nib
import numpy as np
import pytest

from napari_diffseg.ensemble.summary import Summary
from napari_diffseg.errors import BadCase
from napari_diffseg.runs.stored_run import read_run
from stored_runs import AFFINE, mask_of, write_run


@pytest.fixture
def told(tmp_path):
    """A finished run of three members in `run`, and the event with which it began."""
    return write_run(tmp_path / "run")


def test_a_finished_run_is_read_back_to_the_last_voxel(told, tmp_path):
    run = read_run(tmp_path / "run")
    for name in ("case_id", "members", "slices", "sampled", "slice_axis", "source_shape", "labels", "timesteps"):
        assert getattr(run.started, name) == getattr(told, name), name
    assert run.is_complete
    np.testing.assert_allclose(run.grid.affine, AFFINE)
    for event in run.sampled:
        np.testing.assert_array_equal(event.mask, mask_of(event.member))
    mean = np.asanyarray(nib.load(tmp_path / "run" / "mean.nii.gz").dataobj)
    np.testing.assert_array_equal(run.ensemble().mean()[0], mean)


def test_an_expected_mask_is_read_and_has_its_vote_and_a_damaged_one_is_noted(told, tmp_path):
    folder = tmp_path / "run"
    alone = read_run(folder)
    assert alone.expected is None
    grid = alone.grid
    p = np.random.default_rng(1).random(grid.shape, np.float32)
    nib.save(nib.Nifti1Image(p, grid.affine), folder / "expected.nii.gz")
    run = read_run(folder)
    inner = told.sampled[len(told.sampled) // 2]
    known = run.expected.on_slice(inner)
    np.testing.assert_allclose(known[0], np.moveaxis(p, told.slice_axis, 0)[inner], atol=1e-6)
    votes = np.sum(list(run.members.values()), axis=0, dtype=np.uint16)
    smooth = Summary(smoothing_mm=1.0)
    assert not np.array_equal(run.probability(votes, smooth), alone.probability(votes, smooth))
    np.testing.assert_array_equal(run.probability(votes), run.ensemble().probability())
    (folder / "expected.nii.gz").write_bytes(b"broken")
    run = read_run(folder)
    assert run.expected is None
    assert "one-step estimate is left out" in run.notes[0]
    assert "expected.nii.gz" in run.notes[0]


def test_a_run_that_was_killed_is_read_with_the_members_it_has(told, tmp_path):
    folder = tmp_path / "run"
    for name in ("mask.nii.gz", "mean.nii.gz", "uncertainty.nii.gz", "members/member-003.nii.gz"):
        (folder / name).unlink()
    record = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(record | {"status": "running", "members": []}))
    run = read_run(folder)
    assert not run.is_complete
    assert tuple(run.members) == run.started.members == (0, 1)


def test_a_damaged_member_is_left_out_and_named(told, tmp_path):
    (tmp_path / "run" / "members" / "member-002.nii.gz").write_bytes(b"\x1f\x8b nothing")
    run = read_run(tmp_path / "run")
    assert tuple(run.members) == (0, 2)
    assert run.notes[0].startswith("Member 2 is left out: member-002.nii.gz")


def test_a_member_of_another_shape_is_left_out(told, tmp_path):
    nib.save(nib.Nifti1Image(np.ones((2, 2, 2), np.uint8), np.eye(4)), tmp_path / "run/members/member-003.nii.gz")
    assert tuple(read_run(tmp_path / "run").members) == (0, 1)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "holds no run.json"),
        ("{", "is damaged"),
        ("[]", "is not the record of a run"),
        ('{"format": 9}', "is not the record of a run"),
    ],
)
def test_a_folder_without_a_readable_record_is_one_sentence(tmp_path, content, words):
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    with pytest.raises(BadCase, match=words):
        read_run(tmp_path)


def test_slices_that_the_members_do_not_have_are_refused(told, tmp_path):
    path = tmp_path / "run" / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"slices": [0, 999]}))
    with pytest.raises(BadCase, match="slices that its members do not have"):
        read_run(tmp_path / "run")


def test_a_run_without_a_whole_member_is_one_sentence(told, tmp_path):
    for path in (tmp_path / "run" / "members").iterdir():
        path.unlink()
    with pytest.raises(BadCase, match="without a whole member: run it again"):
        read_run(tmp_path / "run")
