from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import arrays

from napari_diffseg.errors import BadRequest
from napari_diffseg.evaluation.metrics.calibration import brier, pooled, reliability
from napari_diffseg.evaluation.metrics.error_detection import auroc, risk_coverage
from napari_diffseg.evaluation.metrics.qu_brats import qu_brats


def forecasts(*levels: tuple[float, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Voxels by (probability, voxels with lesion, voxels without)."""
    p = [np.full(hit + miss, level, np.float32) for level, hit, miss in levels]
    y = [np.repeat([1.0, 0.0], [hit, miss]) for _, hit, miss in levels]
    return np.concatenate(p), np.concatenate(y)


def test_a_calibrated_forecaster_has_no_calibration_error():
    curve = reliability(*forecasts((0.2, 20, 80), (0.6, 60, 40), (1.0, 10, 0), (0.0, 0, 300)), bins=5)
    assert curve.ece == pytest.approx(0, abs=1e-6)
    assert curve.ace == pytest.approx(0, abs=1e-6)


def test_an_overconfident_forecaster_has_the_error_of_its_gaps():
    curve = reliability(*forecasts((0.9, 70, 30), (0.1, 90, 210)), bins=10)
    assert curve.ece == pytest.approx((100 * 0.2 + 300 * 0.2) / 400, abs=1e-6)
    assert curve.ace == pytest.approx(0.2, abs=1e-6)
    assert curve.frequency[9] == pytest.approx(0.7)
    assert math.isnan(curve.confidence[5])


def test_a_share_of_members_lies_in_the_bin_that_begins_with_it():
    shares = np.arange(11, dtype=np.float32) / np.float32(10)
    curve = reliability(shares, np.zeros(11), bins=10)
    assert curve.count == (1,) * 9 + (2,)


def test_readers_who_disagree_count_as_one_observation_each():
    curve = reliability(np.array([0.5, 0.5]), np.array([0.5, 0.5]), bins=4)
    assert curve.ece == 0
    assert brier(np.array([0.5]), np.array([0.5])) == pytest.approx(0.25)


def test_curves_of_cases_add_up_to_the_curve_of_all_voxels():
    first, second = forecasts((0.3, 4, 9)), forecasts((0.3, 1, 1), (0.8, 5, 2))
    together = reliability(np.r_[first[0], second[0]], np.r_[first[1], second[1]], bins=7)
    added = pooled([reliability(*first, bins=7), reliability(*second, bins=7)])
    assert added.count == together.count
    assert added.ece == pytest.approx(together.ece)


def test_one_bin_is_no_curve():
    with pytest.raises(BadRequest, match="at least 2"):
        reliability(np.array([0.1]), np.array([0.0]), bins=1)


def test_brier_is_the_mean_square():
    assert brier(np.array([0.8, 0.3]), np.array([1.0, 0.0])) == pytest.approx((0.04 + 0.09) / 2)
    assert math.isnan(brier(np.array([]), np.array([])))


def test_auroc_is_1_when_every_error_is_the_more_uncertain_and_0_when_the_less():
    wrong = np.array([True, True, False, False, False])
    assert auroc(np.array([0.9, 0.8, 0.3, 0.2, 0.1]), wrong) == 1
    assert auroc(np.array([0.0, 0.1, 0.3, 0.2, 0.9]), wrong) == 0


def test_auroc_is_a_half_when_uncertainty_says_nothing():
    assert auroc(np.zeros(6), np.array([1, 0, 0, 1, 0, 0], bool)) == 0.5


def test_auroc_counts_ties_half():
    assert auroc(np.array([0.5, 0.5, 0.1]), np.array([1, 0, 0], bool)) == pytest.approx(0.75)


def test_auroc_does_not_exist_without_errors():
    assert math.isnan(auroc(np.zeros(3), np.zeros(3, bool)))


def test_risk_coverage_by_hand():
    found = risk_coverage(np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.0, 1.0, 0.0, 1.0]))
    assert found.coverage == (0.25, 0.5, 0.75, 1)
    assert found.risk == pytest.approx((0, 1 / 2, 1 / 3, 1 / 2))
    assert found.aurc == pytest.approx((1 / 2 + 1 / 3 + 1 / 2) / 4)
    # The perfect order: 0, 0, 1/3, 1/2.
    assert found.excess == pytest.approx(found.aurc - (1 / 3 + 1 / 2) / 4)


def test_a_perfect_order_has_no_excess_risk():
    assert risk_coverage(np.array([1.0, 2.0, 3.0]), np.array([0.0, 0.0, 1.0])).excess == pytest.approx(0)


@given(arrays(bool, 20), arrays(np.int8, 20, elements={"min_value": 0, "max_value": 3}))
def test_the_order_of_equally_uncertain_voxels_does_not_matter(wrong, levels):
    order = np.lexsort((wrong, levels))
    first = risk_coverage(levels.astype(float), wrong.astype(float))
    second = risk_coverage(levels[order].astype(float), wrong[order].astype(float))
    assert first.aurc == pytest.approx(second.aurc)
    assert first.excess >= -1e-12


def test_the_curve_is_thinned_but_its_area_is_not():
    n = 5000
    found = risk_coverage(np.zeros(n), np.r_[np.ones(1000), np.zeros(4000)])
    assert len(found.coverage) == 101
    assert found.coverage[-1] == 1
    assert found.aurc == pytest.approx(0.2)


def test_the_curve_keeps_the_end_of_each_level_of_a_small_ensemble():
    found = risk_coverage(np.repeat([0.0, 0.3], [4993, 7]), np.repeat([0.0, 1.0], [4993, 7]))
    assert 4993 / 5000 in found.coverage
    assert found.risk[found.coverage.index(4993 / 5000)] == 0


BRAIN = np.ones(6, bool)
TRUTH = np.array([1, 1, 1, 0, 0, 0], bool)


def test_certain_and_right_scores_one():
    found = qu_brats(TRUTH, TRUTH, np.zeros(6), BRAIN)
    assert found.score == pytest.approx(1)
    assert found.levels == 1


def test_uncertain_of_everything_though_right_costs_the_voxels_set_aside():
    found = qu_brats(TRUTH, TRUTH, np.full(6, 100.0), BRAIN)
    # All is set aside below 100 and kept at 100: a trapezoid of half a step is missing from an area of 1.
    assert found.dice_auc == 1
    assert found.ftp_auc == pytest.approx(1 - 0.5 / 40)
    assert found.ftn_auc == pytest.approx(1 - 0.5 / 40)
    assert found.score == pytest.approx((1 + 2 * 0.5 / 40) / 3)


def test_an_error_that_is_known_for_uncertain_costs_next_to_nothing():
    wrong = np.array([1, 1, 1, 1, 0, 0], bool)
    known = qu_brats(wrong, TRUTH, np.array([0, 0, 0, 100, 0, 0]), BRAIN)
    unknown = qu_brats(wrong, TRUTH, np.zeros(6), BRAIN)
    assert unknown.score == pytest.approx((6 / 7 + 2) / 3)
    assert known.dice_auc == pytest.approx(1 - (1 - 6 / 7) * 0.5 / 40)
    assert known.score > unknown.score


def test_voxels_outside_the_brain_are_not_set_aside():
    brain = np.array([1, 1, 1, 1, 0, 0], bool)
    outside = qu_brats(TRUTH, TRUTH, np.array([0, 0, 0, 0, 100, 100]), brain)
    assert outside.score == pytest.approx(1)


def test_a_true_lesion_that_was_missed_altogether_does_not_divide_by_nothing():
    found = qu_brats(np.zeros(6, bool), TRUTH, np.zeros(6), BRAIN)
    assert found.score == pytest.approx(2 / 3)
