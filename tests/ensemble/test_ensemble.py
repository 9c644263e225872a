"""The ensemble's statistics are those of numpy and torch on the stacked members."""

import numpy as np
import pytest

from napari_diffseg.ensemble.ensemble import Ensemble


def ensemble(*, shape=(4, 5, 6), axis=2, slices=(1, 2, 4), sampled=(1, 4)):
    return Ensemble(("lesion",), shape, axis, slices, sampled)


def masks(count, *, rows=2, plane=(4, 5), seed=0):
    return np.random.default_rng(seed).random((count, 1, rows, *plane)) > 0.5


def filled(count, **changes):
    e = ensemble(**changes)
    stack = masks(count)
    for k in range(count):
        e.add(k, (1, 4), stack[k])
    return e, stack


def test_mean_and_unbiased_variance_are_numpys():
    e, stack = filled(5)
    np.testing.assert_allclose(e.mean()[0][:, :, [1, 4]], np.moveaxis(stack.mean(0)[0], 0, -1), atol=1e-7)
    np.testing.assert_allclose(
        e.variance()[0][:, :, [1, 4]], np.moveaxis(stack.var(0, ddof=1)[0], 0, -1).astype(np.float32), atol=1e-6
    )


def test_a_slice_without_brain_is_zero_with_zero_variance_and_one_not_asked_for_is_zero():
    e, _ = filled(3)
    assert not e.mean()[0][:, :, [0, 2, 3, 5]].any()
    assert not e.variance()[0][:, :, [2]].any()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_member_comes_back_on_its_slices_whatever_the_slice_axis(axis):
    shape = (6, 5, 7)
    plane = tuple(n for i, n in enumerate(shape) if i != axis)
    e = ensemble(shape=shape, axis=axis, slices=(0, 3), sampled=(0, 3))
    mask = masks(1, plane=plane)[0]
    e.add(4, (3,), mask[:, 1:])
    assert e.members == ()
    e.add(4, (0,), mask[:, :1])
    assert e.members == (4,)
    np.testing.assert_array_equal(np.moveaxis(e.member(4), axis + 1, 1)[:, [0, 3]], mask)


def test_adding_the_same_slice_twice_counts_once():
    e, stack = filled(2)
    before = e.mean()
    e.add(0, (1, 4), ~stack[0])
    np.testing.assert_array_equal(e.mean(), before)


def test_order_of_members_does_not_matter():
    stack = masks(4)
    forward, backward = ensemble(), ensemble()
    for k in range(4):
        forward.add(k, (1, 4), stack[k])
        backward.add(3 - k, (4,), stack[3 - k][:, 1:])
        backward.add(3 - k, (1,), stack[3 - k][:, :1])
    np.testing.assert_array_equal(forward.variance(), backward.variance())


def test_variance_of_one_member_does_not_exist():
    e, _ = filled(1)
    assert np.isnan(e.variance()[0][:, :, [1, 4]]).all()


def test_consensus_is_the_strict_majority():
    e = ensemble(slices=(0,), sampled=(0,))
    ones, zeros = np.ones((1, 1, 4, 5), bool), np.zeros((1, 1, 4, 5), bool)
    e.add(0, (0,), ones)
    e.add(1, (0,), zeros)
    assert not e.consensus().any()
    e.add(2, (0,), ones)
    assert e.consensus()[0, :, :, 0].all()


def test_every_slice_of_a_case_without_brain_is_done_once_a_member_is_added():
    e = ensemble(sampled=())
    e.add(0, (), np.zeros((1, 0, 4, 5), bool))
    assert e.members == (0,)
    assert not e.member(0).any()


@pytest.mark.parametrize("first", [0, 1, 3, 5, 9, None])
def test_votes_of_the_first_members_leave_the_others_out(first):
    e, stack = filled(5)
    votes, count = e.votes_slice(4, first=first)
    asked = stack[:first]
    assert count == len(asked)
    np.testing.assert_array_equal(votes, asked[:, :, 1].sum(0))


def test_a_member_that_has_not_reached_a_slice_has_no_vote_there():
    e = ensemble()
    stack = masks(2)
    e.add(0, (1, 4), stack[0])
    e.add(1, (4,), stack[1][:, 1:])
    votes, count = e.votes_slice(1, first=2)
    assert (e.begun, e.members, count) == ((0, 1), (0,), 1)
    np.testing.assert_array_equal(votes, stack[0][:, 0])


@pytest.mark.parametrize("by", [1, 2, 4])
def test_from_above_a_voxel_is_seen_where_enough_members_mark_it_on_one_slice(by):
    e, stack = filled(4)
    np.testing.assert_array_equal(e.seen_from_above(by=by), (stack.sum(axis=0) >= by).any(axis=(0, 1)))
