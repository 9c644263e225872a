"""The rim of a brain: which voxels it is, and how a mask is carried on into it."""

import numpy as np
import pytest
from scipy import ndimage

from napari_diffseg.imaging.geometry.holes import box_around, fill_holes
from napari_diffseg.imaging.geometry.rim import Rim


@pytest.fixture
def brain():
    """A box of 10 x 8 voxels on slices 1 to 3 of five, with a hole on slice 2."""
    brain = np.zeros((14, 12, 5), np.bool_)
    brain[2:12, 2:10, 1:4] = True
    brain[6, 6, 2] = False
    return brain


@pytest.mark.parametrize(
    ("width_mm", "spacing_mm", "cut"),
    [(1, (1, 1, 1), 2), (2, (2, 2, 1), 2), (1, (2, 2, 2), 1), (1, (1.0004, 1, 5), 2), (0, (1, 1, 1), 1)],
)
def test_it_is_one_voxel_and_so_many_mm_within_each_slice(brain, width_mm, spacing_mm, cut):
    rim = Rim.of(brain, width_mm=width_mm, spacing_mm=spacing_mm, slice_axis=2)
    expected = np.zeros_like(brain)
    expected[2 + cut : 12 - cut, 2 + cut : 10 - cut, 1:4] = True
    expected[6, 6, 2] = False
    np.testing.assert_array_equal(rim.shown, expected)


def test_any_axis_may_be_that_of_the_slices(brain):
    rim = Rim.of(brain, width_mm=1, spacing_mm=(1, 1, 1), slice_axis=2)
    turned = Rim.of(brain.transpose(2, 0, 1), width_mm=1, spacing_mm=(1, 1, 1), slice_axis=0)
    np.testing.assert_array_equal(turned.shown, rim.shown.transpose(2, 0, 1))


def test_the_border_of_the_image_is_no_rim(brain):
    assert Rim.of(np.ones_like(brain), width_mm=1, spacing_mm=(1, 1, 1), slice_axis=2).shown.all()
    cut = Rim.of(brain[2:], width_mm=1, spacing_mm=(1, 1, 1), slice_axis=2)
    assert cut.shown[0, 5, 1]
    assert not cut.shown[9, 5, 1]


def test_a_rim_is_as_the_nearest_voxel_that_was_shown(brain):
    rim = Rim.of(brain, width_mm=1, spacing_mm=(1, 1, 1), slice_axis=2)
    planes = np.zeros((2, 14, 12), np.float32)
    planes[:, 4:7, 4:6] = 1
    planes[:, 7:10, 4:8] = 0.25
    planes[:, :4] = 0.75  # what a network says of voxels that it was not shown
    carried = rim.carry_on(planes, [3, 4])
    assert carried[0, 2:7, 2:6].min() == 1
    assert carried[0, 11, 5] == 0.25
    assert carried[0, 1, 5] == 0  # no brain
    assert not carried[1].any()  # a slice without brain, too


@pytest.mark.parametrize("dtype", [np.bool_, np.float32])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_outside_of_the_brain_there_is_nothing_and_a_hole_in_a_slice_is_inside(brain, axis, dtype):
    brain[2, 5, 1] = False  # a notch in its outline
    turned = np.moveaxis(brain, 2, axis)
    rim = Rim.of(turned, width_mm=1, spacing_mm=(1, 1, 1), slice_axis=axis)
    everywhere = np.ones((5, 14, 12), dtype)
    inside = np.moveaxis(brain, 2, 0).copy()
    inside[2, 6, 6] = True
    np.testing.assert_array_equal(rim.carry_on(everywhere, range(5)), inside)
    np.testing.assert_array_equal(rim.inside, np.moveaxis(inside, 0, axis))


def test_a_slice_that_is_all_rim_keeps_what_is_said_of_it():
    brain = np.zeros((6, 6, 1), np.bool_)
    brain[2:4, 2:4] = True
    rim = Rim.of(brain, width_mm=1, spacing_mm=(1, 1, 1), slice_axis=2)
    assert not rim.shown.any()
    np.testing.assert_array_equal(rim.carry_on(np.ones((1, 6, 6), np.float32), [0])[0], brain[..., 0])


@pytest.mark.parametrize("seed", range(12))
def test_it_is_what_a_distance_transform_says_on_any_shape_and_spacing(seed):
    rng = np.random.default_rng(seed)
    shape, spacing = tuple(rng.integers(1, 24, 3)), tuple(rng.choice([0.4, 0.9375, 1, 1.2, 3.3], 3))
    brain = ndimage.gaussian_filter(rng.standard_normal(shape), seed % 3) > rng.uniform(-0.4, 0.2)
    axis, width = seed % 3, float(rng.choice([0, 1, 2.5]))
    rim = Rim.of(np.asfortranarray(brain) if seed % 2 else brain, width_mm=width, spacing_mm=spacing, slice_axis=axis)
    within = [s for other, s in enumerate(spacing) if other != axis]
    for plane, shown in zip(np.moveaxis(brain, axis, 0), np.moveaxis(rim.shown, axis, 0), strict=True):
        filled = np.pad(ndimage.binary_fill_holes(plane), 1, mode="edge")
        if not filled.all():
            depth = ndimage.distance_transform_edt(filled, sampling=within)[1:-1, 1:-1]
            np.testing.assert_array_equal(shown, plane & (depth > max(within) + width + 1e-3))


def test_holes_are_filled_plane_by_plane_as_scipy_fills_them():
    planes = np.random.default_rng(0).random((20, 17, 13)) < 0.6
    expected = np.stack([ndimage.binary_fill_holes(plane) for plane in planes])
    assert (expected != planes).any()
    np.testing.assert_array_equal(fill_holes(planes), expected)


def test_a_box_holds_what_is_inside_and_its_margin_ends_with_the_array(brain):
    assert box_around(brain) == (slice(2, 12), slice(2, 10), slice(1, 4))
    assert box_around(brain, margin=2) == (slice(0, 14), slice(0, 12), slice(0, 5))
    assert box_around(brain[:0]) == box_around(brain & False) == ()
