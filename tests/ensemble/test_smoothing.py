"""The smoothed probability: the vote map, Gaussian smoothed, joined with the votes; members are left alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.ndimage import gaussian_filter

from napari_diffseg.ensemble.ensemble import Ensemble
from napari_diffseg.ensemble.expected import ExpectedMask
from napari_diffseg.ensemble.smoothing import Smoothing
from napari_diffseg.events import Started

SHAPE, SPACING = (12, 14, 16), (1.0, 2.0, 1.5)
STARTED = Started(
    run_id="run",
    case_id="case",
    device="cpu",
    precision="fp32",
    sampler="ddim",
    timesteps=2,
    members=(0, 1, 2, 3),
    slices=tuple(range(SHAPE[2])),
    sampled=tuple(range(SHAPE[2])),
    slice_axis=2,
    source_shape=SHAPE,
    labels=("lesion",),
    evaluations=0,
    spacing_mm=SPACING,
    smoothing_mm=1.0,
)


def made(
    started: Started, *, members: int = 4, expected: np.ndarray | None = None, of: tuple[int, ...] | None = None
) -> Ensemble:
    """An ensemble of random members, with what it expects of some slices, all by default."""
    rng = np.random.default_rng(0)
    ensemble = Ensemble.for_run(started)
    if expected is not None:
        ensemble.expect(of or started.slices, expected)
    for k in range(members):
        ensemble.add(k, started.slices, rng.random((1, len(started.slices), SHAPE[0], SHAPE[1])) < 0.4)
    return ensemble


def raw_mean(ensemble: Ensemble) -> np.ndarray:
    """The share of the members, voxel by voxel."""
    return np.mean([ensemble.member(k)[0] for k in ensemble.members], axis=0)


def joint(alone: np.ndarray, members: int, weight: int, around: np.ndarray) -> np.ndarray:
    """(v + c q) / (K + c); where all members agree q is held on their side."""
    least, most = (
        max(0, weight - members) / (2 * weight) + 1e-3,
        min(2 * weight, weight + members) / (2 * weight) - 1e-3,
    )
    around = np.where(alone == 1, np.maximum(around, least), np.where(alone == 0, np.minimum(around, most), around))
    return (members * alone + weight * around) / (members + weight)


@pytest.mark.parametrize(("members", "votes"), [(3, 6), (5, 10), (8, 10)])
def test_the_gaussian_is_scipys_in_mm_with_a_weight_of_at_most_ten_members(members: int, votes: int) -> None:
    ensemble = made(STARTED, members=members)
    alone = raw_mean(ensemble)
    around = gaussian_filter(alone, [1 / s for s in SPACING])
    expected = joint(alone, members, votes, around)
    inside = (slice(4, -4), slice(2, -2), slice(3, -3))
    assert_allclose(ensemble.probability()[0][inside], expected[inside], atol=2e-6)


def test_what_all_agree_on_stays_exactly_so_up_to_the_border() -> None:
    ensemble = Ensemble.for_run(STARTED)
    for k in range(3):
        ensemble.add(k, STARTED.slices, np.ones((1, SHAPE[2], SHAPE[0], SHAPE[1]), np.bool_))
    assert_array_equal(ensemble.probability(), np.ones((1, *SHAPE), np.float32))


def test_slices_that_were_not_asked_for_have_no_part() -> None:
    some = replace(STARTED, slices=(5, 6, 7), sampled=(5, 6, 7))
    ensemble = Ensemble.for_run(some)
    for k in range(2):
        ensemble.add(k, some.slices, np.ones((1, 3, SHAPE[0], SHAPE[1]), np.bool_))
    mean = ensemble.probability()[0]
    assert_array_equal(mean[..., 5:8], np.ones((*SHAPE[:2], 3)))
    assert not mean[..., :5].any()
    assert not mean[..., 8:].any()


def test_voxels_outside_the_window_have_no_part_and_stay_empty() -> None:
    window = ((3, 8), (4, 9))
    ensemble = Ensemble.for_run(replace(STARTED, window=window))
    mask = np.zeros((1, SHAPE[2], SHAPE[0], SHAPE[1]), np.bool_)
    mask[..., 3:8, 4:9] = True
    for k in range(2):
        ensemble.add(k, STARTED.slices, mask)
    expected = np.moveaxis(mask[0], 0, 2).astype(np.float32)
    assert_array_equal(ensemble.probability()[0], expected)


def test_a_slice_without_members_yet_is_empty_and_takes_no_part() -> None:
    ensemble = Ensemble.for_run(STARTED)
    for k in range(2):
        ensemble.add(k, (8,), np.ones((1, 1, SHAPE[0], SHAPE[1]), np.bool_))
    assert_array_equal(ensemble.probability_slice(8)[0], np.ones((1, SHAPE[0], SHAPE[1]), np.float32))
    assert not ensemble.probability_slice(7)[0].any()


def test_slice_by_slice_and_as_a_volume_it_is_the_same() -> None:
    ensemble = made(STARTED)
    votes = np.sum([ensemble.member(k) for k in range(4)], axis=0)
    volume = ensemble.smoothing.on_volume(votes, 4, slice_axis=2, slices=STARTED.slices)
    for s in (0, 7, 15):
        assert_array_equal(ensemble.probability_slice(s)[0], volume[..., s])
    assert_array_equal(ensemble.probability(), volume)


@pytest.mark.parametrize("members", [1, 2, 5, 9])
@pytest.mark.parametrize("mm", [1.0, 5.0])
def test_what_all_members_mark_is_never_lost_and_what_none_marks_never_added(members: int, mm: float) -> None:
    ensemble = Ensemble.for_run(replace(STARTED, smoothing_mm=mm))
    mask = np.zeros((1, SHAPE[2], SHAPE[0], SHAPE[1]), np.bool_)
    mask[0, 8, 6, 7] = mask[0, 2:5, 3:6, 3:6] = True
    mask[0, 12:15, 3:8, 3:8] = True
    mask[0, 13, 5, 5] = False
    for k in range(members):
        ensemble.add(k, STARTED.slices, mask)
    assert_array_equal(ensemble.probability()[0] > 0.5, np.moveaxis(mask[0], 0, 2))


def test_the_order_in_which_members_come_changes_nothing() -> None:
    forwards, backwards = made(STARTED), Ensemble.for_run(STARTED)
    for k in (3, 1, 0, 2):
        backwards.add(k, STARTED.slices, np.moveaxis(forwards.member(k), 3, 1))
    assert_array_equal(forwards.probability(), backwards.probability())


def expecting(started: Started, *, seed: int = 9) -> np.ndarray:
    """Random probabilities of all slices of a run, as it tells them."""
    return np.random.default_rng(seed).random((1, len(started.slices), *SHAPE[:2]), np.float32)


@pytest.mark.parametrize(("members", "votes"), [(1, 2), (5, 10), (8, 10)])
def test_where_there_is_a_one_step_estimate_it_is_what_is_averaged(members: int, votes: int) -> None:
    p = expecting(STARTED)
    ensemble = made(STARTED, members=members, expected=p)
    around = gaussian_filter(np.moveaxis(p[0], 0, 2), [1 / s for s in SPACING])
    alone = raw_mean(ensemble)
    inside = (slice(4, -4), slice(2, -2), slice(3, -3))
    expected = joint(alone, members, votes, around)
    assert_allclose(ensemble.probability()[0][inside], expected[inside], atol=2e-6)


def test_slices_without_a_one_step_estimate_yet_take_part_by_their_members() -> None:
    ensemble, before = made(STARTED, expected=expecting(STARTED)[:, :1], of=(3,)), made(STARTED)
    changed = {
        s
        for s in STARTED.slices
        if not np.array_equal(ensemble.probability_slice(s)[0], before.probability_slice(s)[0])
    }
    assert 3 in changed
    assert changed <= ensemble.within_reach([3])


def test_what_comes_after_a_whole_member_is_of_another_run_and_not_learned() -> None:
    late, before = made(STARTED), made(STARTED)
    late.expect(STARTED.slices, expecting(STARTED))
    assert_array_equal(late.probability(), before.probability())


def test_without_smoothing_the_one_step_estimate_has_no_part() -> None:
    ensemble = made(replace(STARTED, smoothing_mm=0.0), expected=expecting(STARTED))
    assert_allclose(ensemble.probability()[0], raw_mean(ensemble), rtol=1e-6)


@pytest.mark.parametrize("members", [1, 2, 5, 9])
@pytest.mark.parametrize("p", [0.0, 1.0])
def test_the_one_step_estimate_never_outvotes_members_that_agree(members: int, p: float) -> None:
    ensemble = Ensemble.for_run(STARTED)
    mask = np.zeros((1, SHAPE[2], SHAPE[0], SHAPE[1]), np.bool_)
    mask[0, 8, 6, 7] = mask[0, 2:5, 3:6, 3:6] = True
    ensemble.expect(STARTED.slices, np.full(mask.shape, p, np.float32))
    for k in range(members):
        ensemble.add(k, STARTED.slices, mask)
    assert_array_equal(ensemble.probability()[0] > 0.5, np.moveaxis(mask[0], 0, 2))


def test_as_a_volume_and_slice_by_slice_it_is_the_same_with_a_one_step_estimate() -> None:
    ensemble = made(STARTED, expected=expecting(STARTED))
    votes = np.sum([ensemble.member(k) for k in range(4)], axis=0)
    volume = ensemble.smoothing.on_volume(
        votes, 4, slice_axis=2, slices=STARTED.slices, expected=ensemble.whole_members().expected
    )
    assert_array_equal(ensemble.probability(), volume)
    assert_array_equal(ensemble.probability(), ensemble.whole().probability())


def test_votes_for_any_label_are_joined_by_the_likeliest_label() -> None:
    two = replace(STARTED, labels=("core", "whole"))
    expected = ExpectedMask(two)
    p = np.concatenate([expecting(STARTED, seed=s) for s in (1, 2)])
    expected.add(two.slices, p)
    votes = np.ones((1, SHAPE[0], SHAPE[1]), np.uint16)
    assert_array_equal(Smoothing().share_of(votes, 4, 5, expected), p[:, 5].max(axis=0, keepdims=True))


def test_members_are_left_as_they_are() -> None:
    smooth, plain = made(STARTED), made(replace(STARTED, smoothing_mm=0.0))
    assert_array_equal(smooth.member(2), plain.member(2))
    assert_array_equal(plain.probability()[0], raw_mean(smooth).astype(np.float32))


def test_mean_variance_and_majority_are_the_members_own_whatever_the_smoothing() -> None:
    ensemble = made(STARTED, members=5, expected=expecting(STARTED))
    members = np.stack([ensemble.member(k) for k in ensemble.members])
    assert_array_equal(ensemble.mean(), members.mean(axis=0, dtype=np.float64).astype(np.float32))
    assert_array_equal(ensemble.variance(), members.var(axis=0, ddof=1, dtype=np.float64).astype(np.float32))
    assert_array_equal(ensemble.consensus(), 2 * members.sum(axis=0) > 5)
    assert not np.array_equal(ensemble.probability(), ensemble.mean())


def test_neighbours_within_reach_are_those_that_change() -> None:
    ensemble, after = made(STARTED), made(STARTED)
    fresh = np.ones((1, 1, SHAPE[0], SHAPE[1]), np.bool_)
    after.add(9, (7,), fresh)
    changed = {
        s for s in STARTED.slices if not np.array_equal(ensemble.probability_slice(s)[0], after.probability_slice(s)[0])
    }
    assert changed
    assert changed <= after.within_reach([7])
    assert after.within_reach([7]) == set(range(4, 11))


def test_a_run_smooths_by_its_checkpoint_unless_told_otherwise() -> None:
    assert Smoothing.of_run(STARTED) == Smoothing(1 / 1.5, (1.0, 0.5))
    assert Smoothing.of_run(STARTED, 0.0).is_none
    assert Smoothing.of_run(STARTED, 3.0).along == 2.0
    longer = replace(STARTED, smoothing_slices=3.0)
    assert Smoothing.of_run(longer) == Smoothing(3 / 1.5, (1.0, 0.5))
    assert Smoothing.of_run(longer, 0.5).along == 1.0
    assert Smoothing.of_run(longer, 0.0).is_none
