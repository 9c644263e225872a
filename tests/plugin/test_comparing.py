"""Two runs held against each other: what they share, where they differ, and what cannot be compared."""

from dataclasses import replace

import numpy as np
import pytest

from napari_diffseg.errors import BadRequest
from napari_diffseg.plugin.explore.comparing import compare_runs, describe
from napari_diffseg.runs.stored_run import read_run
from stored_runs import SHAPE, write_run


@pytest.fixture
def run(tmp_path):
    write_run(tmp_path / "run")
    return read_run(tmp_path / "run")


def with_members(run, *boxes):
    """The run, with cubes of so many voxels a side as its members."""
    members = {}
    for k, side in enumerate(boxes):
        members[k] = np.zeros((1, *SHAPE), np.bool_)
        members[k][0, :side, :side, :side] = True
    return replace(run, members=members)


def test_dice_volumes_and_the_map_are_those_of_the_members(run):
    one, other = with_members(run, 2, 2, 3), with_members(run, 3, 3, 3)
    found = compare_runs(one, other)
    assert found.dice == pytest.approx(2 * 8 / (8 + 27))
    assert found.volumes_ml == pytest.approx((8 * 6 / 1000, 27 * 6 / 1000))  # voxels of 2 x 1 x 3 mm
    assert found.only_ml == pytest.approx((0, 19 * 6 / 1000))
    assert found.difference[0, 0, 0] == 0
    assert found.difference[2, 2, 2] == pytest.approx(1 / 3 - 1)
    assert found.difference[5, 4, 3] == 0
    sentence = "Majorities of runs 1 and 4: Dice 0.457; 0.0 and 0.2 ml, of which 0.0 ml only in 1 (orange) and 0.1 ml"
    assert describe(found, 1, 4).startswith(sentence)


def test_shares_are_smoothed_as_the_maps_of_each_run_are(run):
    smooth = replace(run, record=run.record.model_copy(update={"smoothing_mm": 1.5}))
    found = compare_runs(smooth, run)
    np.testing.assert_array_equal(found.difference, smooth.ensemble().mean()[0] - run.ensemble().mean()[0])


def test_a_run_is_like_itself(run):
    found = compare_runs(run, run)
    assert found.dice == 1.0
    assert not found.difference.any()


def test_runs_on_other_voxels_are_refused(run):
    moved = replace(run, grid=replace(run.grid, affine=np.eye(4)))
    with pytest.raises(BadRequest, match="different voxels"):
        compare_runs(run, moved)
