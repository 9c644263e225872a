"""STAPLE: who agrees with the others weighs more; air around the head changes nothing."""

import numpy as np
import pytest

from napari_diffseg.ensemble.consensus import consensus_of, staple
from napari_diffseg.ensemble.summary import Rule, Summary
from napari_diffseg.errors import BadRequest

pytest.importorskip("SimpleITK")


def cube(shape=(20, 20, 20), low=5, high=15):
    volume = np.zeros(shape, np.bool_)
    volume[low:high, low:high, low:high] = True
    return volume


def noisy(truth, share, seed):
    return truth ^ (np.random.default_rng(seed).random(truth.shape) < share)


def asked(masks):
    members = [mask[None] for mask in masks]
    return members, np.sum(members, axis=0, dtype=np.uint16)


def one(masks):
    [found] = staple(*asked(masks))
    return found


def test_two_readers_who_agree_outweigh_three_careless_ones():
    truth = cube()
    careful = [noisy(truth, 0.01, seed) for seed in range(2)]
    careless = [noisy(truth, 0.4, seed) for seed in range(2, 5)]
    found = one([*careful, *careless])
    members, votes = asked([*careful, *careless])
    majority = Summary().consensus(votes, 5)[0]
    assert (found.mask != truth).sum() < 0.3 * (majority != truth).sum()
    assert min(found.sensitivity[:2]) > 0.9 > 0.75 > max(found.sensitivity[2:])
    assert min(found.specificity[:2]) > 0.95 > 0.75 > max(found.specificity[2:])
    by_rule = consensus_of(members, votes=votes, count=5, summary=Summary(Rule.STAPLE), regions=())
    np.testing.assert_array_equal(by_rule, found.mask[None])


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("mask", [cube(), np.zeros((20, 20, 20), np.bool_), np.ones((20, 20, 20), np.bool_)])
def test_members_that_are_alike_are_the_mask(mask, count):
    found = one([mask] * count)
    np.testing.assert_array_equal(found.mask, mask)
    assert found.sensitivity == found.specificity == (1.0,) * count


def test_more_air_around_the_head_changes_nothing():
    masks = [noisy(cube(), 0.0, 0), cube(high=14), cube(low=4)]
    near, far = one(masks), one([np.pad(mask, 30) for mask in masks])
    np.testing.assert_array_equal(far.probability[30:-30, 30:-30, 30:-30], near.probability)
    assert far.specificity == near.specificity


def nested_readers(shape=(44, 44, 24), radii=(5.4, 5.8, 6.3, 7.2, 7.6)):
    """Five readers of one ball, from the tightest to the most generous."""
    places = np.stack(np.meshgrid(*(np.arange(n) - 11 for n in shape), indexing="ij"))
    distance = np.sqrt((places**2).sum(axis=0))
    return [distance < radius for radius in radii]


@pytest.mark.parametrize("strays", [1, 5, 30])
def test_stray_voxels_of_one_member_far_away_turn_on_nothing(strays):
    masks = nested_readers()
    votes = np.sum(masks, axis=0)
    assert (votes == 2).sum() > 400
    alone = one(masks).mask
    np.testing.assert_array_equal(alone, votes > 2.5)
    places = [tuple(p) for p in np.argwhere(votes == 0) if min(p) > 22 or max(p) > 30]
    for place in np.random.default_rng(0).permutation(places)[:strays]:
        masks[4][tuple(place)] = True
    np.testing.assert_array_equal(one(masks).mask, alone)


def test_a_lesion_in_another_place_than_the_first_does_not_make_two_votes_of_five_enough():
    masks = nested_readers()
    elsewhere = np.zeros(masks[0].shape, np.bool_)
    elsewhere[-6:, -6:, -6:] = True
    together = [mask | elsewhere for mask in masks]
    np.testing.assert_array_equal(one(together).mask, np.sum(together, axis=0) > 2.5)


def test_each_label_is_estimated_by_itself():
    first, second = cube(), cube(low=12, high=18)
    members = [np.stack([first, second]), np.stack([first, second]), np.stack([first, cube(low=12, high=15)])]
    found = staple(members, np.sum(members, axis=0, dtype=np.uint16))
    np.testing.assert_array_equal(found[0].mask, first)
    np.testing.assert_array_equal(found[1].mask, second)
    assert found[0].sensitivity == (1.0, 1.0, 1.0)
    assert found[1].sensitivity == pytest.approx((1.0, 1.0, 27 / 216), abs=1e-6)


def test_rules_that_go_by_votes_read_no_member():
    members, votes = asked([cube(), cube(high=14)])

    def unread():
        pytest.fail("a member was read")
        yield

    mask = consensus_of(unread(), votes=votes, count=len(members), summary=Summary(Rule.MEAN, 0.4), regions=())
    np.testing.assert_array_equal(mask[0], cube())


def test_votes_alone_are_not_enough_for_staple():
    _, votes = asked([cube()])
    with pytest.raises(BadRequest, match="the members themselves"):
        Summary(Rule.STAPLE).consensus(votes, 1)
    np.testing.assert_array_equal(Summary(Rule.STAPLE).by_votes.consensus(votes, 1)[0], cube())


def test_without_the_library_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr("napari_diffseg.extras.find_spec", lambda _name: None)
    with pytest.raises(BadRequest, match=r"SimpleITK.*napari-diffseg\[consensus\]"):
        one([cube()])
