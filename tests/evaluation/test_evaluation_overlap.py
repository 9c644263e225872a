from __future__ import annotations

import math

import numpy as np
import pytest

from napari_diffseg.ensemble.dice import dice
from napari_diffseg.errors import GridMismatch
from napari_diffseg.evaluation.metrics.overlap import Overlap, compare


def cube(start: int = 10, *, shape: tuple[int, ...] = (32, 32, 32), size: int = 8) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[(slice(start, start + size), *(slice(10, 10 + size) for _ in shape[1:]))] = True
    return mask


def measure(prediction: np.ndarray, truth: np.ndarray, spacing: tuple[float, ...] = (1.0, 1.0, 1.0)) -> Overlap:
    return compare(prediction, truth, spacing_mm=spacing, voxel_mm3=math.prod(spacing))


def test_a_perfect_prediction_is_perfect():
    found = measure(cube(), cube())
    assert (found.dice, found.jaccard, found.nsd_1mm, found.nsd_2mm) == (1, 1, 1, 1)
    assert (found.hd95_mm, found.hd95_max_mm) == (0, 0)
    assert found.volume_ml == pytest.approx(0.512)
    assert (found.volume_error_ml, found.volume_error_percent) == (0, 0)


def test_a_cube_moved_by_three_voxels_of_2_mm_is_6_mm_away():
    found = measure(cube(13), cube(10), (2.0, 1.0, 1.0))
    assert (found.hd95_mm, found.hd95_max_mm) == (pytest.approx(6), pytest.approx(6))
    assert found.dice == pytest.approx(5 / 8)  # 5 of 8 layers are shared
    assert found.jaccard == pytest.approx(5 / 11)
    assert found.nsd_1mm < 1


def test_a_thick_enough_tolerance_forgives_a_step_of_one_voxel():
    found = measure(cube(11), cube(10), (1.5, 1.0, 1.0))
    assert found.nsd_2mm == pytest.approx(1)
    assert found.nsd_1mm < 1


def test_a_slice_is_measured_in_its_plane():
    found = compare(
        cube(14, shape=(32, 32)), cube(10, shape=(32, 32)), spacing_mm=(0.5, 1.0), voxel_mm3=0.5 * 1.0 * 5.0
    )
    assert found.hd95_mm == pytest.approx(2)
    assert found.volume_ml == pytest.approx(64 * 2.5 / 1000)


def test_a_mask_at_the_edge_of_the_array_has_an_outline_there():
    edge = np.zeros((6, 6, 6), bool)
    edge[:3] = True
    assert measure(edge, edge).hd95_mm == 0
    assert measure(edge, edge).nsd_1mm == 1


def test_the_two_conventions_of_hd95_differ_on_an_island_as_they_say():
    truth = cube(5, shape=(60, 30, 30))
    with_island = truth.copy()
    with_island[45:49, 10:14, 10:14] = True
    found = measure(with_island, truth)
    assert found.hd95_max_mm > found.hd95_mm > 0


def test_volume_error_has_the_sign_of_too_much():
    found = measure(cube(size=10), cube(size=8))
    assert found.volume_error_ml == pytest.approx((10**3 - 8**3) / 1000)
    assert found.volume_error_percent == pytest.approx(100 * (10**3 - 8**3) / 8**3)


def test_two_empty_masks_agree_but_have_no_distance():
    nothing = np.zeros((8, 8, 8), bool)
    found = measure(nothing, nothing)
    assert (found.dice, found.jaccard, found.nsd_1mm, found.nsd_2mm) == (1, 1, 1, 1)
    assert math.isnan(found.hd95_mm)
    assert math.isnan(found.hd95_max_mm)
    assert math.isnan(found.volume_error_percent)


@pytest.mark.parametrize("empty", ["prediction", "truth"])
def test_one_empty_mask_scores_nothing_and_has_no_distance(empty):
    masks = {"prediction": cube(), "truth": cube(), empty: np.zeros((32, 32, 32), bool)}
    found = measure(masks["prediction"], masks["truth"])
    assert (found.dice, found.jaccard, found.nsd_1mm, found.nsd_2mm) == (0, 0, 0, 0)
    assert math.isnan(found.hd95_mm)
    assert math.isnan(found.volume_error_percent) == (empty == "truth")


def test_masks_of_other_shapes_are_refused_with_both_shapes():
    with pytest.raises(GridMismatch, match=r"\(32, 32, 32\).*\(8, 8, 8\)"):
        measure(cube(), np.zeros((8, 8, 8), bool))


def test_dice_of_halves_is_a_half():
    assert dice(np.array([1, 1, 0], bool), np.array([0, 1, 1], bool)) == 0.5
