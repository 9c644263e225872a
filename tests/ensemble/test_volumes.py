"""Volumes in ml with known answers, and the members that stand for the ensemble."""

import numpy as np
import pytest

from napari_diffseg.ensemble.ensemble import Ensemble
from napari_diffseg.ensemble.volumes import interval_title, measure_volumes, spread_of
from napari_diffseg.errors import BadRequest

SHAPE = (10, 10, 2)


def ensemble_of(*masks, labels=("lesion",), first=0):
    made = Ensemble(labels, SHAPE, 2, (0, 1), (0, 1))
    for k, mask in enumerate(masks, start=first):
        made.add(k, (0, 1), np.moveaxis(np.asarray(mask).reshape(len(labels), *SHAPE), 3, 1))
    return made


def with_voxels(count, *, start=0):
    flat = np.zeros(np.prod(SHAPE), np.bool_)
    flat[start : start + count] = True
    return flat.reshape(SHAPE)


def test_a_thousand_cubic_millimetres_are_one_millilitre():
    volumes = measure_volumes(ensemble_of(with_voxels(100)), voxel_mm3=10.0)
    assert volumes.by_member == {0: 1.0}
    assert (volumes.mean_ml, volumes.interval_ml) == (1.0, (1.0, 1.0))
    assert (volumes.smallest, volumes.medoid, volumes.largest) == (0, 0, 0)


def test_mean_and_interval_are_those_of_the_members():
    volumes = measure_volumes(ensemble_of(*(with_voxels(n) for n in range(41))), voxel_mm3=1000.0)
    assert volumes.mean_ml == 20.0
    np.testing.assert_allclose(volumes.interval_ml, (0.05, 39.95))
    assert (volumes.smallest, volumes.medoid, volumes.largest) == (0, 20, 40)


@pytest.mark.parametrize("count", [2, 5, 38, 39])
def test_the_interval_of_few_members_is_their_range(count):
    values = np.random.default_rng(count).random(count)
    _, interval = spread_of(values)
    np.testing.assert_allclose(interval, (values.min(), values.max()))
    assert interval_title(count) == (f"range of {count} members" if count < 39 else "95 % of 39 members")


def test_one_more_member_lies_in_the_interval_95_percent_of_the_time():
    drawn = np.random.default_rng(0).lognormal(size=(2000, 61))
    low, high = np.transpose([spread_of(row[:60])[1] for row in drawn])
    assert np.mean((low <= drawn[:, 60]) & (drawn[:, 60] <= high)) == pytest.approx(0.95, abs=0.012)


def test_the_medoid_is_found_by_place_and_not_by_volume():
    apart = with_voxels(12, start=100)
    made = ensemble_of(with_voxels(10), apart, with_voxels(12), with_voxels(13), with_voxels(14))
    volumes = measure_volumes(made, voxel_mm3=1.0)
    assert volumes.by_member[1] == volumes.by_member[2] == 0.012
    assert volumes.medoid == 2


@pytest.mark.parametrize("seed", range(5))
def test_the_medoid_has_the_least_sum_of_pairwise_differences(seed):
    members = np.random.default_rng(seed).random((6, *SHAPE)) > 0.6
    sums = [(members ^ member).sum() for member in members]
    assert measure_volumes(ensemble_of(*members), voxel_mm3=1.0).medoid == int(np.argmin(sums))


def test_channels_that_overlap_are_counted_once_and_numbers_are_kept():
    both = np.stack([with_voxels(10), with_voxels(10, start=5)])
    volumes = measure_volumes(ensemble_of(both, labels=("edema", "core"), first=7), voxel_mm3=1000.0)
    assert volumes.by_member == {7: 15.0}
    assert volumes.medoid == 7


def test_a_member_that_is_not_whole_is_left_out_and_alone_refused():
    made = ensemble_of(with_voxels(10))
    made.add(1, (0,), np.ones((1, 1, 10, 10), np.bool_))
    assert measure_volumes(made, voxel_mm3=1.0).by_member == {0: 0.01}
    empty = ensemble_of()
    with pytest.raises(BadRequest, match="No member is finished"):
        measure_volumes(empty, voxel_mm3=1.0)
