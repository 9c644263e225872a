"""Arrays on other grids: same voxels are copied, the field of view ends at faces, and mass is kept as by SimpleITK."""

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from phantoms import ORIENTATIONS, oriented, ramp
from scipy import ndimage

from napari_diffseg.imaging.geometry.regrid import LINEAR, NEAREST, find_reordering, regrid
from napari_diffseg.imaging.geometry.resampling import resample_image, resample_mask
from napari_diffseg.imaging.volume import Volume

TO_LPS = np.diag([-1.0, -1.0, 1.0])


def volume(data, affine):
    return Volume(np.asarray(data), np.asarray(affine, dtype=np.float64), None, None, ())


def in_32_bits(affine):
    """As a NIfTI header keeps it."""
    return np.asarray(affine, np.float32).astype(np.float64)


def tilted(spacing, angles, origin=(-31.7, 22.3, 8.9)):
    matrix = nib.eulerangles.euler2mat(*angles) @ np.diag(spacing)
    return nib.affines.from_matvec(matrix, origin)


def mirrored(data, affine, flips):
    """The same voxels, stored in the other direction along some axes."""
    axes = [axis for axis, flip in enumerate(flips) if flip]
    shift = np.eye(4)
    for axis in axes:
        shift[axis, axis], shift[axis, 3] = -1, data.shape[axis] - 1
    return np.flip(data, axes), in_32_bits(affine @ shift)


def refined(affine, shape, times):
    """The grid of the same field of view whose voxels are `times` smaller along each axis."""
    step = np.diag([*(1 / np.array(times)), 1.0])
    step[:3, 3] = (1 / np.array(times) - 1) / 2
    return tuple(int(n * t) for n, t in zip(shape, times, strict=True)), in_32_bits(affine @ step)


def by_simpleitk(source, target, interpolator):
    """What SimpleITK makes of it, and nothing of ours: (X, Y, Z)."""

    def image(v):
        made = sitk.GetImageFromArray(np.ascontiguousarray(v.data.T).astype(np.float32))
        spacing = np.sqrt((v.affine[:3, :3] ** 2).sum(axis=0))
        made.SetSpacing(spacing.tolist())
        made.SetDirection((TO_LPS @ v.affine[:3, :3] / spacing).ravel().tolist())
        made.SetOrigin((TO_LPS @ v.affine[:3, 3]).tolist())
        return made

    moved = sitk.Resample(image(source), image(target), sitk.Transform(), interpolator, 0.0)
    return sitk.GetArrayFromImage(moved).T


@pytest.mark.parametrize("codes", ORIENTATIONS, ids="".join)
def test_the_same_voxels_in_another_order_are_copied_exactly(codes):
    data = np.random.default_rng(1).normal(size=(6, 5, 4)).astype(np.float32)
    source = volume(data, in_32_bits(oriented("LPS", tilt=0.3)))
    image = nib.Nifti1Image(data, source.affine)
    turn = nib.orientations.ornt_transform(
        nib.orientations.io_orientation(source.affine), nib.orientations.axcodes2ornt(codes)
    )
    turned = image.as_reoriented(turn)
    target = volume(np.zeros(turned.shape), in_32_bits(turned.affine))
    for order in (NEAREST, LINEAR):
        np.testing.assert_array_equal(regrid(data, source, target, order=order), turned.get_fdata(dtype=np.float32))


def test_outer_slices_of_a_mirrored_tilted_clinical_series_are_kept():
    data = np.ones((20, 20, 6), np.uint8)
    affine = in_32_bits(tilted((0.9, 0.9, 5.5), (0.05, -0.2, 0.11), (-113.21, 97.4, -61.38)))
    for flips in np.ndindex(2, 2, 2):
        stored, other = mirrored(data, affine, flips)
        moved = regrid(stored, volume(stored, other), volume(data, affine), order=NEAREST)
        np.testing.assert_array_equal(moved, data)


@pytest.mark.parametrize("off", [0.04, 0.06])
def test_voxels_up_to_a_twentieth_off_count_as_the_same_and_beyond_are_interpolated(off):
    data, affine = ramp((4, 4, 3), np.float32), np.eye(4)
    stored, other = mirrored(data, affine, (1, 0, 0))
    other[1, 3] += off
    found = find_reordering(volume(stored, other), volume(data, affine))
    assert (found is None) == (off > 0.05)
    moved = regrid(stored, volume(stored, other), volume(data, affine), order=LINEAR)
    assert np.array_equal(moved, data) == (off < 0.05)


def test_a_crop_and_a_margin_of_the_same_voxels_are_copied_with_0_outside():
    data = ramp((5, 4, 3))
    affine = in_32_bits(tilted((0.7, 0.8, 2.0), (0.3, 0.1, -0.2)))
    shift = np.eye(4)
    shift[:3, 3] = (2, -1, 0)
    moved = regrid(data, volume(data, affine), volume(np.zeros((5, 5, 3)), affine @ shift), order=NEAREST)
    expected = np.zeros((5, 5, 3), data.dtype)
    expected[:3, 1:] = data[2:]
    np.testing.assert_array_equal(moved, expected)


def test_on_a_finer_grid_outer_slices_are_whole():
    data = np.zeros((8, 8, 4), np.uint8)
    data[2:6, 2:6] = 1
    affine = in_32_bits(tilted((1, 1, 6), (0.02, 0.1, -0.05)))
    shape, fine = refined(affine, data.shape, (1, 1, 4))
    moved = regrid(data, volume(data, affine), volume(np.zeros(shape), fine), order=NEAREST)
    np.testing.assert_array_equal(moved, np.repeat(data, 4, axis=2))
    smooth = regrid(data.astype(np.float32), volume(data, affine), volume(np.zeros(shape), fine), order=LINEAR)
    np.testing.assert_allclose(smooth[3, 3], 1, atol=1e-5)


def test_beyond_the_outer_faces_all_is_0():
    data = np.ones((4, 4, 4), np.float32)
    target = volume(np.zeros((9, 4, 4)), nib.affines.from_matvec(np.eye(3), (-2.4, 0.1, 0.1)))
    moved = regrid(data, volume(data, np.eye(4)), target, order=LINEAR)
    np.testing.assert_array_equal(moved[:, 0, 0], [0, 0, 1, 1, 1, 1, 0, 0, 0])


def test_a_grid_shifted_by_half_a_voxel_keeps_the_mass():
    data = np.ones((4, 3, 2), np.uint8)
    for shift in (0.5, -0.5):
        grid = volume(np.zeros((7, 3, 2)), nib.affines.from_matvec(np.eye(3), (shift - 2, 0, 0)))
        assert regrid(data, volume(data, np.eye(4)), grid, order=NEAREST).sum() == data.size


angles = st.tuples(*[st.integers(-600, 600).map(lambda n: n / 1000)] * 3)
flips = st.tuples(*[st.booleans()] * 3)
times = st.tuples(*[st.sampled_from((1, 2, 3, 4))] * 3)
spacings = st.tuples(*[st.integers(400, 6000).map(lambda n: n / 1000)] * 3)


@settings(max_examples=40, deadline=None)
@given(angles, flips, times, spacings, st.integers(0, 1000))
def test_mass_is_kept_on_finer_grids_of_the_same_field_of_view(angles, flips, times, spacings, seed):
    data = (ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(6, 7, 4)), 1) > 0).astype(np.uint8)
    affine = in_32_bits(tilted(spacings, angles))
    shape, fine = refined(affine, data.shape, times)
    stored, other = mirrored(data, affine, flips)
    moved = regrid(stored, volume(stored, other), volume(np.zeros(shape), fine), order=NEAREST)
    expected = data.repeat(times[0], 0).repeat(times[1], 1).repeat(times[2], 2)
    np.testing.assert_array_equal(moved, expected)


@settings(max_examples=40, deadline=None)
@given(angles, angles, spacings, spacings, st.integers(0, 1000))
def test_it_agrees_with_simpleitk_between_any_two_grids(one, other, spacing, fine, seed):
    field = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(9, 8, 7)), 1).astype(np.float32)
    mask = (field > 0).astype(np.uint8)
    centre = np.array([4.0, 3.5, 3.0])
    affine = tilted(spacing, one)
    middle = affine[:3, :3] @ centre + affine[:3, 3]
    grid = tilted(fine, other)
    grid[:3, 3] = middle - grid[:3, :3] @ [5.2, 4.9, 5.1]
    target = volume(np.zeros((11, 10, 12)), grid)
    index = np.stack(np.meshgrid(*map(np.arange, target.shape), indexing="ij"), axis=-1)
    positions = nib.affines.apply_affine(np.linalg.solve(affine, grid), index)
    clear = (np.abs(positions - np.floor(positions) - 0.5) > 2e-3).all(axis=-1)  # of the faces, where either is right
    near = regrid(mask, volume(mask, affine), target, order=NEAREST)
    theirs = by_simpleitk(volume(mask, affine), target, sitk.sitkNearestNeighbor)
    np.testing.assert_array_equal(near[clear], theirs[clear])
    smooth = regrid(field, volume(field, affine), target, order=LINEAR)
    theirs = by_simpleitk(volume(field, affine), target, sitk.sitkLinear)
    np.testing.assert_allclose(smooth[clear], theirs[clear], atol=1e-4)


def test_resampling_a_case_copies_an_image_that_is_stored_mirrored():
    data = ramp((6, 5, 4))
    affine = in_32_bits(tilted((1, 1, 3), (0.1, 0.2, 0.05)))
    stored, other = mirrored(data, affine, (0, 1, 1))
    moved = resample_image(volume(stored, other), volume(data, affine), "t1")
    np.testing.assert_array_equal(moved.data, data)
    assert moved.data.dtype == data.dtype
    assert moved.notes[0].startswith("reordered to the grid of t1: it was 6 x 5 x 4 voxels")
    np.testing.assert_array_equal(resample_mask(volume(stored, other), volume(data, affine), "t1").data, data)
