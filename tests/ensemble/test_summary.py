"""Consensus and uncertainty from votes: exact answers, and those of numpy and of counting pairs."""

from itertools import combinations

import numpy as np
import pytest

from napari_diffseg.ensemble.summary import Measure, Rule, Summary, mean_of
from napari_diffseg.errors import BadRequest

VOTES = np.arange(11)


def test_half_of_the_members_is_no_majority():
    assert Summary().consensus(VOTES, 10).tolist() == [False] * 6 + [True] * 5


def test_the_majority_does_not_ask_for_the_threshold():
    kept = Summary(rule=Rule.MAJORITY, threshold=0.9)
    np.testing.assert_array_equal(kept.consensus(VOTES, 10), Summary().consensus(VOTES, 10))


@pytest.mark.parametrize("percent", range(5, 100, 5))
def test_a_voxel_is_in_the_mask_when_more_than_the_threshold_hold_it(percent):
    mask = Summary(rule=Rule.MEAN, threshold=percent / 100).consensus(np.arange(21), 20)
    assert mask.tolist() == [5 * v > percent for v in range(21)]


@pytest.mark.parametrize(
    ("measure", "votes", "count", "value"),
    [
        (Measure.VARIANCE, 7, 10, 7 / 30),
        (Measure.VARIANCE, 1, 2, 0.5),
        (Measure.ENTROPY, 1, 4, 2 - 0.75 * np.log2(3)),
        (Measure.ENTROPY, 5, 10, 1.0),
        (Measure.DISAGREEMENT, 7, 10, 21 / 45),
        (Measure.DISAGREEMENT, 1, 2, 1.0),
    ],
)
def test_the_measures_have_their_known_values(measure, votes, count, value):
    got = Summary(measure=measure).uncertainty(np.array([0, votes, count]), count)
    np.testing.assert_allclose(got, [0.0, value, 0.0], rtol=1e-6)


@pytest.mark.parametrize("count", [2, 3, 7])
def test_variance_is_numpys_and_disagreement_counts_pairs(count):
    members = np.random.default_rng(count).random((count, 40)) > 0.5
    votes = members.sum(0)
    pairs = np.mean([a != b for a, b in combinations(members, 2)], axis=0)
    np.testing.assert_allclose(Summary().uncertainty(votes, count), members.var(0, ddof=1), atol=1e-6)
    np.testing.assert_allclose(Summary(measure=Measure.DISAGREEMENT).uncertainty(votes, count), pairs, atol=1e-6)
    np.testing.assert_allclose(mean_of(votes, count), members.mean(0), atol=1e-6)


@pytest.mark.parametrize("measure", Measure)
@pytest.mark.parametrize("count", [2, 5, 100])
def test_no_measure_exceeds_its_largest_value(measure, count):
    values = Summary(measure=measure).uncertainty(np.arange(count + 1), count)
    assert values.max() <= measure.largest
    assert values.min() == 0


@pytest.mark.parametrize("measure", Measure)
def test_one_member_and_none_have_no_uncertainty(measure):
    assert not Summary(measure=measure).uncertainty(np.array([0, 1]), 1).any()
    assert not Summary(measure=measure).uncertainty(np.array([0]), 0).any()
    assert not Summary().consensus(np.array([0]), 0).any()


@pytest.mark.parametrize("threshold", [0.0, 0.04, 0.96, float("nan")])
def test_a_threshold_out_of_bounds_is_refused(threshold):
    with pytest.raises(BadRequest, match=r"0\.05 to 0\.95"):
        Summary(rule=Rule.MEAN, threshold=threshold)
