"""Lesion-wise Dice and HD95 by the rules that BraTS has published, on masks whose answer is known."""

import numpy as np
import pytest

from napari_diffseg.ensemble.dice import dice
from napari_diffseg.evaluation.metrics.lesionwise import PENALTY_MM, compare_lesions

SHAPE = (40, 40, 20)


def cubes(*corners, size=4):
    mask = np.zeros(SHAPE, bool)
    for x, y, z in corners:
        mask[x : x + size, y : y + size, z : z + size] = True
    return mask


def measure(prediction, truth, **how):
    return compare_lesions(prediction, truth, spacing_mm=(1, 1, 1), voxel_mm3=1.0, **how)


def test_one_lesion_that_is_found_is_measured_as_the_whole_mask():
    found = measure(cubes((5, 5, 5)), cubes((6, 5, 5)))
    assert found.lesion_dice == pytest.approx(dice(cubes((5, 5, 5)), cubes((6, 5, 5))))
    assert found.lesion_hd95_mm == found.hd95_brats_mm == pytest.approx(1)
    assert (found.lesions_found, found.lesions_missed, found.lesions_false) == (1, 0, 0)


def test_a_missed_lesion_and_a_false_one_have_dice_0_and_the_penalty():
    truth, prediction = cubes((5, 5, 5), (25, 25, 5)), cubes((5, 5, 5), (5, 30, 5))
    found = measure(prediction, truth)
    assert (found.lesions_found, found.lesions_missed, found.lesions_false) == (1, 1, 1)
    assert found.lesion_dice == pytest.approx(1 / 3)
    assert found.lesion_hd95_mm == pytest.approx(2 * PENALTY_MM / 3)


def test_true_parts_that_touch_once_they_have_grown_are_one_lesion():
    close, far = cubes((5, 5, 5), (14, 5, 5)), cubes((5, 5, 5), (17, 5, 5))
    assert measure(cubes((5, 5, 5)), close).lesions_found == 1
    assert measure(cubes((5, 5, 5)), close).lesions_missed == 0
    apart = measure(cubes((5, 5, 5)), far)
    assert (apart.lesions_found, apart.lesions_missed) == (1, 1)
    assert measure(cubes((5, 5, 5)), close, dilations=1).lesions_missed == 1  # as for metastases


def test_a_predicted_part_that_only_reaches_into_the_grown_lesion_is_its_prediction():
    near = measure(cubes((5, 5, 5)), cubes((11, 5, 5)))
    assert (near.lesions_found, near.lesions_missed, near.lesions_false) == (1, 0, 0)
    assert near.lesion_dice == 0
    assert near.lesion_hd95_mm < PENALTY_MM


def test_small_true_lesions_do_not_count_nor_what_is_predicted_on_them():
    small = cubes((25, 25, 5), size=3)  # 27 mm3
    both = measure(cubes((5, 5, 5)) | small, cubes((5, 5, 5)) | small)
    assert (both.lesions_found, both.lesions_missed, both.lesions_false) == (1, 0, 0)
    missed = measure(cubes((5, 5, 5)), cubes((5, 5, 5)) | small)
    assert (missed.lesion_dice, missed.lesions_missed) == (1, 0)
    assert measure(cubes((5, 5, 5)), cubes((5, 5, 5)) | small, least_mm3=2).lesions_missed == 1
    false = measure(cubes((5, 5, 5)) | small, cubes((5, 5, 5)))
    assert (false.lesion_dice, false.lesions_false) == (0.5, 1)  # a false one counts, however small


def test_where_nobody_sees_anything_all_is_right_and_one_empty_mask_is_all_wrong():
    nothing, something = np.zeros(SHAPE, bool), cubes((5, 5, 5))
    right = measure(nothing, nothing)
    assert (right.lesion_dice, right.lesion_hd95_mm, right.hd95_brats_mm) == (1, 0, 0)
    for wrong in (measure(nothing, something), measure(something, nothing)):
        assert (wrong.lesion_dice, wrong.lesion_hd95_mm, wrong.hd95_brats_mm) == (0, PENALTY_MM, PENALTY_MM)


def test_volumes_and_distances_are_in_millimetres():
    found = compare_lesions(cubes((5, 5, 5)), cubes((5, 7, 5)), spacing_mm=(1, 3, 1), voxel_mm3=3.0)
    assert found.hd95_brats_mm == pytest.approx(6)
    tiny = compare_lesions(cubes((5, 5, 5), size=3), cubes((5, 5, 5), size=3), spacing_mm=(1, 3, 1), voxel_mm3=3.0)
    assert tiny.lesions_found == 1  # 81 mm3
