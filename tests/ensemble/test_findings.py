"""What is measured of an ensemble, with answers known by hand."""

import pickle

import numpy as np
import pytest

from napari_diffseg.ensemble.convergence import Convergence, follow_votes
from napari_diffseg.ensemble.ensemble import Ensemble
from napari_diffseg.ensemble.findings import measure, measure_edited, peaks
from napari_diffseg.ensemble.lesions import default_smallest_ml, describe_smallest, find_lesions
from napari_diffseg.errors import BadRequest

SHAPE = (12, 10, 8)


def ensemble_of(*masks, axis=2, labels=("lesion",), slices=None):
    slices = tuple(range(SHAPE[axis])) if slices is None else slices
    made = Ensemble(labels, SHAPE, axis, slices, slices)
    for k, mask in enumerate(masks):
        channels = np.asarray(mask).reshape(len(labels), *SHAPE)
        made.add(k, slices, np.moveaxis(channels, axis + 1, 1)[:, list(slices)])
    return made


def box(*ranges):
    mask = np.zeros(SHAPE, np.bool_)
    mask[tuple(slice(*r) for r in ranges)] = True
    return mask


def lesions_of(*masks, voxel_mm3=1000.0):
    members = ensemble_of(*masks).whole_members()
    return find_lesions(members, follow_votes(members, voxel_mm3=voxel_mm3)[0], voxel_mm3=voxel_mm3)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("slices", [None, (1, 2, 5)])
def test_whole_members_are_the_ensembles_own(axis, slices):
    rng = np.random.default_rng(axis)
    made = ensemble_of(*(rng.random((2, *SHAPE)) > 0.5 for _ in range(3)), axis=axis, labels=("a", "b"), slices=slices)
    whole = made.whole_members()
    assert whole.members == (0, 1, 2)
    for k in whole.members:
        np.testing.assert_array_equal(whole.member(k), made.member(k))
        np.testing.assert_array_equal(whole.lesion(k), made.member(k).any(axis=0))


def test_what_comes_later_and_what_is_not_whole_does_not_reach_them():
    made = ensemble_of(box((0, 3), (0, 3), (0, 3)))
    made.add(1, (0,), np.ones((1, 1, *SHAPE[:2]), np.bool_))
    whole = made.whole_members()
    made.add(1, range(1, SHAPE[2]), np.ones((1, SHAPE[2] - 1, *SHAPE[:2]), np.bool_))
    assert whole.members == (0,)
    assert made.whole_members().members == (0, 1)
    assert made.whole_members(first=1).members == (0,)


def test_each_lesion_has_its_holders_its_volume_and_its_place():
    large = box((1, 5), (1, 5), (1, 5))
    small = box((8, 10), (6, 8), (6, 8))
    first, second, third = lesions_of(
        large | small, box((1, 5), (1, 5), (1, 4)), large, large | box((11, 12), (0, 1), (0, 1))
    )
    assert (first.holders, first.asked, first.probability) == (4, 4, 1.0)
    assert first.volume_ml == (64 * 3 + 48) / 4
    assert first.differ_ml == pytest.approx(16 * 3 / 6)
    assert (second.holders, second.volume_ml, second.interval_ml) == (1, 8.0, (8.0, 8.0))
    assert second.differ_ml == pytest.approx(8 * 3 / 6)
    assert small[second.voxel]
    assert (third.probability, third.volume_ml, third.voxel) == (0.25, 1.0, (11, 0, 0))


def test_the_place_to_look_at_has_most_votes_even_where_the_centre_has_none():
    ring = box((2, 9), (2, 9), (3, 4)) & ~box((4, 7), (4, 7), (3, 4))
    (lesion,) = lesions_of(ring, ring, ring | box((9, 12), (5, 6), (3, 4)))
    assert ring[lesion.voxel]


def test_voxels_that_touch_by_a_corner_are_one_lesion():
    assert len(lesions_of(box((1, 2), (1, 2), (1, 2)) | box((2, 3), (2, 3), (2, 3)))) == 1
    assert len(lesions_of(box((1, 2), (1, 2), (1, 2)) | box((3, 4), (3, 4), (3, 4)))) == 2


def test_members_that_touch_only_through_another_member_hold_one_lesion():
    left, right, bridge = box((1, 3), (1, 3), (1, 3)), box((6, 8), (1, 3), (1, 3)), box((1, 8), (1, 3), (1, 3))
    (lesion,) = lesions_of(left, right, bridge)
    assert (lesion.holders, lesion.volume_ml) == (3, pytest.approx((8 + 8 + 28) / 3))


def test_no_member_marks_anything_and_there_is_no_lesion():
    found = measure(ensemble_of(box((0, 0)), box((0, 0))).whole_members(), voxel_mm3=1.0)
    assert found.lesions == ()
    assert found.uncertain_slices == ()
    assert found.convergence == Convergence((1.0,), (0.0, 0.0))
    assert found.volumes.mean_ml == 0.0


def test_small_components_are_counted_in_the_volume_and_not_as_lesions():
    large, speck = box((1, 4), (1, 4), (1, 4)), box((8, 9), (6, 8), (6, 7))
    members = ensemble_of(large | speck, large | speck).whole_members()
    found = measure(members, voxel_mm3=1.0)
    assert default_smallest_ml(1.0) == pytest.approx(0.0141, abs=1e-4)
    assert [lesion.volume_ml for lesion in found.lesions] == [0.027]
    assert len(found.components) == 2
    assert found.volumes.mean_ml == 0.029
    assert describe_smallest(found.components, found.smallest_ml) == "1 smaller than 0.0141 ml is not listed."
    assert len(measure(members, voxel_mm3=1.0, smallest_ml=0.002).lesions) == 2
    edited = measure_edited(large | speck, members, voxel_mm3=1.0)
    assert (len(edited.lesions), edited.volume_ml) == (1, 0.029)


def test_of_large_voxels_a_lesion_is_three_across():
    assert default_smallest_ml(100.0) == pytest.approx(1.4137, abs=1e-4)
    for mask, count in ((box((1, 4), (1, 4), (1, 4)), 1), (box((1, 4), (1, 3), (1, 3)), 0)):
        assert len(measure(ensemble_of(mask).whole_members(), voxel_mm3=100.0).lesions) == count


def test_one_member_differs_from_none():
    (lesion,) = lesions_of(box((1, 3), (1, 3), (1, 3)))
    assert (lesion.differ_ml, lesion.volume_ml) == (0.0, 8.0)


def test_the_sum_of_what_differs_is_the_mean_over_pairs():
    masks = np.random.default_rng(3).random((5, *SHAPE)) > 0.97
    pairs = [(a ^ b).sum() for i, a in enumerate(masks) for b in masks[:i]]
    assert sum(lesion.differ_ml for lesion in lesions_of(*masks)) == pytest.approx(np.mean(pairs))


def test_votes_and_consensus_are_followed_member_by_member():
    a, b = box((0, 4), (0, 5), (0, 1)), box((0, 4), (0, 5), (0, 1)) | box((4, 6), (0, 5), (0, 1))
    votes, found = follow_votes(ensemble_of(a, b, b, a).whole_members(), voxel_mm3=100.0)
    np.testing.assert_array_equal(votes, 2 * a.astype(int) + 2 * b)
    assert found.volume_ml == (2.0, 2.0, 3.0, 2.0)
    assert found.dice == (1.0, pytest.approx(40 / 50), pytest.approx(40 / 50))


def test_a_consensus_is_settled_since_the_last_member_that_changed_it():
    found = Convergence((0.5, 0.99, 0.98, 0.95, 0.99, 0.995, 1.0), (1.0,) * 8)
    assert found.settled_since(0.02) == 5
    assert found.settled_since(0.05) == 2
    assert found.settled_since(0.001) is None
    assert Convergence((), (1.0,)).settled_since(0.5) is None


def test_uncertain_slices_are_peaks_and_each_hill_is_visited_once():
    assert peaks(np.array([0, 2, 5, 3, 3, 7, 7, 1, 0, 4])) == (5, 2, 9)
    assert peaks(np.array([3, 1, 1, 2])) == (0, 3)
    assert peaks(np.zeros(4, int)) == ()
    masks = [box((1, 3), (1, 3), (2, 3)), box((1, 3), (1, 4), (2, 3)) | box((5, 9), (5, 9), (6, 7))]
    assert measure(ensemble_of(*masks).whole_members(), voxel_mm3=1.0).uncertain_slices == (6, 2)


def test_nothing_is_measured_without_a_member():
    with pytest.raises(BadRequest, match="No member is finished"):
        measure(ensemble_of().whole_members(), voxel_mm3=1.0)


def test_a_long_reading_can_be_ended_between_members():
    from dataclasses import replace

    read = []

    def end():
        read.append(1)
        if len(read) > 2:
            raise InterruptedError

    whole = replace(ensemble_of(*[box((1, 3), (1, 3), (2, 3))] * 9).whole_members(), before_read=end)
    with pytest.raises(InterruptedError):
        measure(whole, voxel_mm3=1.0)
    assert len(read) == 3


def test_findings_cross_a_pickle():
    found = measure(ensemble_of(box((1, 3), (1, 3), (2, 3))).whole_members(), voxel_mm3=1.0)
    assert pickle.loads(pickle.dumps(found)) == found
