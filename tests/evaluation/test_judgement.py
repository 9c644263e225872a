"""Errors against a reference, voxel by voxel: what is missed, what is false, and what the members were sure of."""

import math

import numpy as np
import pytest

from napari_diffseg.evaluation.metrics.judgement import Verdict, judge
from napari_diffseg.evaluation.metrics.overlap import hd95_of


def judged(votes, reference, *, count=20, covered=True, mask=None, probability=None):
    votes = np.array(votes, np.int32).reshape(-1, 1, 1)
    reference = np.array(reference, np.bool_).reshape(-1, 1, 1)
    p = votes / count if probability is None else np.reshape(probability, (-1, 1, 1))
    mask = votes > count / 2 if mask is None else np.array(mask, np.bool_).reshape(-1, 1, 1)
    return judge(
        mask, reference, votes=votes, probability=p.astype(np.float32), count=count,
        covered=np.array(covered, np.bool_).reshape(-1, 1, 1),
        spacing_mm=(2.0, 1.0, 1.0), voxel_mm3=500.0, with_distance=False,
    )  # fmt: skip


def test_an_error_is_sure_where_95_percent_of_the_members_agree_on_it():
    found = judged([0, 1, 2, 10, 11, 18, 19, 20], [1, 1, 1, 1, 0, 0, 0, 0])
    assert found.errors.ravel().tolist() == [2, 2, 1, 1, 3, 3, 4, 4]
    assert found.ml == {Verdict.MISSED: 1, Verdict.SURELY_MISSED: 1, Verdict.FALSE: 1, Verdict.SURELY_FALSE: 1}
    assert found.dice == 0


def test_what_is_right_is_no_error():
    found = judged([0, 5, 15, 20], [0, 0, 1, 1])
    assert not found.errors.any()
    assert found.dice == 1
    assert found.hd95_mm is None


def test_one_member_alone_is_never_sure():
    assert judged([0, 1], [1, 0], count=1).errors.ravel().tolist() == [Verdict.MISSED, Verdict.FALSE]


def test_where_the_ensemble_was_not_asked_nothing_is_wrong():
    found = judged([0, 20, 20], [1, 1, 0], covered=[False, True, True])
    assert found.errors.ravel().tolist() == [0, 0, Verdict.SURELY_FALSE]
    assert found.dice == pytest.approx(2 / 3)
    assert sum(found.curve.count) == 2


def test_the_probability_is_calibrated_and_what_members_agree_on_is_sure():
    found = judged([20, 0, 10, 20], [0, 0, 1, 1], probability=[0.75, 0.25, 0.5, 1], mask=[1, 0, 0, 1])
    assert found.errors.ravel()[0] == Verdict.SURELY_FALSE
    assert found.brier == pytest.approx((0.75**2 + 0.25**2 + 0.5**2) / 4)


def test_reliability_and_brier_are_those_of_the_votes():
    found = judged([0, 5, 5, 20], [0, 1, 0, 1])
    assert found.curve.frequency[2] == pytest.approx(0.5)
    assert found.curve.confidence[2] == pytest.approx(0.25)
    assert found.brier == pytest.approx((0.75**2 + 0.25**2) / 4)


def test_the_distance_of_outlines_is_in_mm_and_does_not_exist_without_a_mask():
    a, b = np.zeros((9, 5, 5), np.bool_), np.zeros((9, 5, 5), np.bool_)
    a[2, 2, 2] = b[6, 2, 2] = True
    assert hd95_of(a, b, spacing_mm=(2.0, 1.0, 1.0)) == pytest.approx(8.0)
    assert math.isnan(hd95_of(a, np.zeros_like(a), spacing_mm=(2.0, 1.0, 1.0)))
