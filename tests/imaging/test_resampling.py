"""One image on another one's voxels: values that are known, what is kept, and what is refused."""

import nibabel as nib
import numpy as np
import pytest
from phantoms import ramp

from napari_diffseg.errors import BadCase
from napari_diffseg.imaging.geometry.resampling import finest, resample_image, resample_mask
from napari_diffseg.imaging.volume import Volume, same_grid


def volume(data, spacing=(1.0, 1.0, 1.0), origin=(0.0, 0.0, 0.0)):
    affine = np.diag([-spacing[0], -spacing[1], spacing[2], 1.0])
    affine[:3, 3] = origin
    return Volume(np.asarray(data), affine, None, None, ())


def linear(shape, affine):
    """x + 10 y + 100 z in millimetres, which linear interpolation gives back exactly."""
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    mm = nib.affines.apply_affine(affine, index)
    return (mm @ [1.0, 10.0, 100.0]).astype(np.float32)


def test_a_linear_image_has_its_values_on_a_shifted_and_finer_grid():
    source = volume(np.zeros((12, 11, 10)), spacing=(1, 2, 3), origin=(5, 8, -10))
    source = Volume(linear(source.shape, source.affine), source.affine, None, None, ())
    target = volume(np.zeros((6, 5, 4)), spacing=(0.5, 0.8, 1.1), origin=(1.3, 2.2, -3.7))
    moved = resample_image(source, target, "t1")
    assert moved.data.dtype == np.float32
    np.testing.assert_allclose(moved.data, linear(target.shape, target.affine), atol=1e-3)
    assert same_grid(moved, target)


def test_an_oblique_grid_gets_the_values_at_its_own_places():
    source = volume(np.zeros((20, 20, 20)), origin=(10, 10, -10))
    source = Volume(linear(source.shape, source.affine), source.affine, None, None, ())
    turned = np.eye(4)
    turned[:3, :3] = nib.eulerangles.euler2mat(0.2, -0.3, 0.1)
    turned[:3, 3] = (-2, -2, -2)
    target = Volume(np.zeros((4, 4, 4)), turned, None, None, ())
    np.testing.assert_allclose(resample_image(source, target, "t1").data, linear((4, 4, 4), turned), atol=1e-3)


def test_what_lies_between_coarse_voxels_is_averaged_and_not_skipped():
    stripes = np.zeros((40, 4, 4), np.float32)
    stripes[::2] = 100
    target = volume(np.zeros((10, 4, 4)), spacing=(4, 1, 1))
    inside = resample_image(volume(stripes), target, "flair").data[1:-1]
    assert np.ptp(inside) < 2
    np.testing.assert_allclose(inside, 50, atol=2)


def test_voxels_that_only_a_hair_separates_are_not_smoothed():
    data = np.random.default_rng(0).uniform(1, 2, (9, 8, 7)).astype(np.float32)
    shifted = volume(np.zeros((7, 8, 7)), origin=(-1, 0, 0))
    np.testing.assert_allclose(resample_image(volume(data), shifted, "t1").data, data[1:8], atol=1e-5)


def test_it_says_what_it_was_and_whose_voxels_it_has():
    moved = resample_image(volume(ramp()), volume(ramp(), origin=(-0.5, 0, 0)), "t1")
    assert moved.notes == ("resampled to the grid of t1: it was 4 x 3 x 2 voxels of 1.00 x 1.00 x 1.00 mm, LPS",)
    assert moved.resampled_to == "t1"


def test_what_has_the_grid_already_is_not_touched():
    same = volume(ramp())
    assert resample_image(same, volume(ramp()), "t1") is same
    assert resample_mask(same, volume(ramp()), "t1") is same


def test_a_mask_takes_the_nearest_label_and_stays_whole_numbers():
    labels = np.zeros((6, 6, 6), np.uint8)
    labels[2:4, 2:4, 2:4] = 7
    moved = resample_mask(volume(labels), volume(np.zeros((12, 6, 6)), spacing=(0.5, 1, 1), origin=(0.25, 0, 0)), "t1")
    assert moved.data.dtype == np.int32
    assert set(np.unique(moved.data)) == {0, 7}
    assert (moved.data == 7).sum() == 2 * 8


def test_an_image_that_does_not_reach_the_grid_is_refused_with_both():
    far = volume(ramp(), origin=(500, 0, 0))
    with pytest.raises(
        BadCase, match=r"^The image, 4 x 3 x 2 .* does not reach the voxels of t1, 4 x 3 x 2 .*register"
    ):
        resample_image(far, volume(ramp()), "t1")


@pytest.mark.parametrize(
    ("spacings", "name"),
    [
        ({"t1": (1, 1, 5), "flair": (1, 1, 1)}, "flair"),
        ({"t1": (1, 1, 1), "flair": (1, 1, 5)}, "t1"),
        ({"t1": (1, 1, 1), "flair": (0.999, 1, 1)}, "t1"),
        ({"t1": (0.5, 0.5, 5), "t2": (1, 1, 1), "flair": (1, 1, 1)}, "t2"),
    ],
)
def test_the_finest_has_the_smallest_voxels_and_of_equals_it_is_the_first(spacings, name):
    assert finest({m: volume(ramp(), spacing=s) for m, s in spacings.items()}) == name
