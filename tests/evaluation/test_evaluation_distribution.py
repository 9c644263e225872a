from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_diffseg.evaluation.metrics.distribution import compare_distributions, dice_by_members, iou_matrix


def masks(*rows: str) -> np.ndarray:
    """One mask a row, as in "110"."""
    return np.array([[c == "1" for c in row] for row in rows])


def test_the_iou_matrix_counts_by_hand():
    found = iou_matrix(masks("1100", "0000"), masks("0110", "0000"))
    np.testing.assert_allclose(found, [[1 / 3, 0], [0, 1]])


def test_ged_and_matching_by_hand():
    # IoU of members and readers: A with A 1, A with B 1/3, B with B 1, B with A 1/3.
    a, b = "1100", "0110"
    found = compare_distributions(masks(a, a), masks(a, b))
    # 2 * mean(0, 2/3, 0, 2/3) - 0 - mean(0, 2/3, 2/3, 0)
    assert found.ged_squared == pytest.approx(2 / 3 - 1 / 3)
    assert found.hungarian_iou == pytest.approx((1 + 1 / 3) / 2)
    assert found.d_max == pytest.approx((1 + 1 / 2) / 2)
    assert found.member_dice == 1
    assert found.reader_dice == pytest.approx(0.5)
    assert found.member_reader_dice == pytest.approx(0.75)


def test_matching_repeats_to_the_least_common_multiple():
    a, b = "1100", "0011"
    found = compare_distributions(masks(a, a, b), masks(a, b))
    # Of 6 repeats: members a a a a b b, readers a a a b b b: one pair of an a with a b is left over.
    assert found.hungarian_iou == pytest.approx(5 / 6)


def test_one_certain_member_against_one_reader_is_the_plain_distance():
    found = compare_distributions(masks("1110"), masks("0111"))
    assert found.ged_squared == pytest.approx(2 * (1 - 2 / 4))
    assert math.isnan(found.member_dice)


def test_an_ensemble_that_says_nothing_agrees_with_readers_who_see_nothing():
    found = compare_distributions(masks("000", "000"), masks("000"))
    assert (found.ged_squared, found.hungarian_iou, found.d_max) == (0, 1, 1)


@given(arrays(bool, (3, 12)), st.permutations(range(3)))
def test_the_same_masks_in_another_order_are_the_same_distribution(drawn, order):
    found = compare_distributions(drawn, drawn[list(order)])
    assert found.ged_squared == pytest.approx(0, abs=1e-12)
    assert found.hungarian_iou == pytest.approx(1)
    assert found.d_max == pytest.approx(1)


@given(arrays(bool, (4, 9)), arrays(bool, (3, 9)))
def test_the_energy_distance_is_never_negative(members, readers):
    assert compare_distributions(members, readers).ged_squared >= -1e-12


def test_counts_are_whole_beyond_one_chunk():
    long = np.ones((1, (1 << 20) + 3), bool)
    short = long.copy()
    short[0, -1] = False
    assert iou_matrix(long, short)[0, 0] == ((1 << 20) + 2) / ((1 << 20) + 3)


def test_dice_by_members_takes_strict_majorities_of_prefixes():
    truth = masks("1100")[0]
    found = dice_by_members(masks("1100", "0110", "1100"), truth)
    # First: itself. Two: what both see, "0100". Three: "1100".
    np.testing.assert_allclose(found, [1, 2 / 3, 1])
