"""File to model and back is the identity, whatever the orientation."""

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from phantoms import LPS, ORIENTATIONS, oriented, ramp

from napari_diffseg.errors import BadImage
from napari_diffseg.imaging.geometry.grid import Grid
from napari_diffseg.imaging.geometry.resample_plane import AxisMap, resample_plane

LENGTHS = st.integers(1, 11)
SHAPES = st.tuples(LENGTHS, LENGTHS, LENGTHS)
SIZES = st.tuples(LENGTHS, LENGTHS)
CODES = st.sampled_from(ORIENTATIONS)
TILTS = st.sampled_from([0.0, 0.1, -0.25])


def on_axis(grid, stack):
    """A stack of source slices as a source array."""
    return np.moveaxis(stack, 0, grid.slice_axis)


def test_240_by_240_to_224_crops_exactly_eight_a_side():
    data = ramp((240, 240, 2), np.float32)
    grid = Grid.plan(data.shape, LPS, size=(224, 224))
    model = grid.to_model(data)
    np.testing.assert_array_equal(model, data[8:-8, 8:-8].transpose(2, 1, 0))


def test_rows_run_to_posterior_and_columns_to_left():
    data = ramp((3, 4, 2), np.float32)  # LPS: axis 0 increases to the left, axis 1 to posterior
    grid = Grid.plan(data.shape, LPS, size=(4, 3))
    assert (grid.row_axis, grid.column_axis, grid.slice_axis) == (1, 0, 2)
    np.testing.assert_array_equal(grid.to_model(data)[0], data[:, :, 0].T)
    turned = Grid.plan(data.shape, np.diag([1.0, 1, 1, 1]), size=(4, 3))  # RAS
    np.testing.assert_array_equal(turned.to_model(data)[0], data[::-1, ::-1, 0].T)


@given(codes=CODES, tilt=TILTS, wanted=CODES, shape=SHAPES, size=SIZES)
def test_voxels_within_the_field_of_view_come_back_bit_for_bit_and_the_others_are_filled(
    codes, tilt, wanted, shape, size
):
    data = ramp(shape, np.float32) / 7
    grid = Grid.plan(shape, oriented(codes, tilt=tilt), axis_codes=wanted, size=size)
    back = on_axis(grid, grid.to_source(grid.to_model(data), fill=-1))
    inside = back != -1
    np.testing.assert_array_equal(back[inside], data[inside])
    rows, columns = shape[grid.row_axis], shape[grid.column_axis]
    assert inside.sum() == min(rows, size[0]) * min(columns, size[1]) * grid.n_slices
    assert grid.outside(data) == pytest.approx(1 - inside.mean())


@given(codes=CODES, tilt=TILTS, wanted=CODES, size=SIZES, spacing=st.sampled_from([None, 0.7, 1.0, 1.5, 3.1]))
def test_the_model_sees_the_same_pixels_however_the_file_is_stored(codes, tilt, wanted, size, spacing):
    shape = (7, 6, 5)
    stored = nib.Nifti1Image(ramp(shape, np.float32), oriented(codes, tilt=tilt))
    turned = nib.as_closest_canonical(stored)

    def model(image):
        grid = Grid.plan(image.shape, image.affine, axis_codes=wanted, size=size, spacing_mm=spacing)
        pixels = grid.to_model(np.asarray(image.dataobj))
        runs_back = nib.aff2axcodes(image.affine)[grid.slice_axis] != wanted[2]
        return pixels[::-1] if runs_back else pixels

    if (size[0] + size[1]) % 2 == 0 and spacing is None:
        np.testing.assert_array_equal(model(stored), model(turned))
    else:
        np.testing.assert_allclose(model(stored), model(turned), atol=2e-3)


@given(codes=CODES, size=SIZES, spacing=st.sampled_from([None, 0.7, 2.5]), chosen=st.permutations(range(5)))
def test_a_slice_alone_has_the_same_pixels_as_in_the_whole_volume(codes, size, spacing, chosen):
    affine = oriented(codes)
    grid = Grid.plan((5, 5, 5), affine, size=size, spacing_mm=spacing)
    data = ramp((5, 5, 5), np.float32)
    whole = grid.to_model(data)
    chosen = chosen[:3]
    np.testing.assert_array_equal(grid.to_model(data, slices=chosen), whole[chosen])
    np.testing.assert_array_equal(grid.to_model(data, slices=[chosen[0]]), whole[chosen[:1]])
    np.testing.assert_array_equal(grid.to_source(whole[chosen]), grid.to_source(whole)[chosen])


def test_the_source_axes_come_back_in_their_own_order():
    for codes in ORIENTATIONS:
        grid = Grid.plan((4, 5, 6), oriented(codes), size=(8, 8))
        expected = tuple(n for axis, n in enumerate((4, 5, 6)) if axis != grid.slice_axis)
        assert grid.to_source(np.zeros((2, 8, 8), np.float32)).shape == (2, *expected)


def test_no_slices_are_an_empty_stack():
    grid = Grid.plan((4, 5, 6), LPS, size=(8, 8))
    assert grid.to_model(np.zeros((4, 5, 6)), slices=[]).shape == (0, 8, 8)
    assert grid.to_source(np.zeros((0, 8, 8), np.float32)).shape == (0, 4, 5)


@pytest.mark.parametrize("spacing", [0.5, 0.8, 1.25, 2.0])
@pytest.mark.parametrize("codes", [("L", "P", "S"), ("R", "A", "S"), ("S", "A", "L")])
def test_resampling_keeps_millimetres(spacing, codes):
    """A linear ramp of position in mm stays that ramp at the centres of the model's pixels."""
    shape, affine = (40, 38, 36), oriented(codes)
    indices = np.stack([*np.indices(shape), np.ones(shape)])
    world = np.einsum("ij,j...->i...", affine, indices)
    middle = affine @ [*(np.array(shape) - 1) / 2, 1]
    grid = Grid.plan(shape, affine, size=(16, 16), spacing_mm=spacing)
    offsets = spacing * (np.arange(16) - 7.5)
    posterior = grid.to_model(-(world[1] - middle[1]), slices=[3])[0]  # rows increase to posterior
    left = grid.to_model(-(world[0] - middle[0]), slices=[3])[0]
    np.testing.assert_allclose(posterior, np.repeat(offsets[:, None], 16, axis=1), atol=1e-4)
    np.testing.assert_allclose(left, np.repeat(offsets[None], 16, axis=0), atol=1e-4)


@pytest.mark.parametrize("spacing", [0.5, 2.0])
def test_a_smooth_blob_survives_resampling_there_and_back(spacing):
    x, y = np.mgrid[:48, :48] - 20.0
    data = np.exp(-(x**2 + (y - 5) ** 2) / 72)[:, :, None]
    grid = Grid.plan(data.shape, LPS, size=(120, 120), spacing_mm=spacing)
    back = grid.to_source(grid.to_model(data))[0]
    assert np.abs(back - data[:, :, 0]).max() < 0.04
    assert back.sum() == pytest.approx(data.sum(), rel=0.01)


def test_fine_detail_is_averaged_and_not_skipped():
    stripes = np.zeros((64, 64, 1))
    stripes[::2] = 1
    grid = Grid.plan(stripes.shape, LPS, size=(12, 12), spacing_mm=4.0)
    np.testing.assert_allclose(grid.to_model(stripes), 0.5, atol=0.05)


def test_a_spacing_that_differs_in_the_fourth_digit_is_not_resampled():
    affine = LPS * [0.99999, 0.99999, 1, 1]
    data = ramp((9, 9, 1), np.float32)
    grid = Grid.plan(data.shape, affine, size=(9, 9), spacing_mm=1.0)
    np.testing.assert_array_equal(grid.to_model(data)[0], data[:, :, 0].T)


@pytest.mark.parametrize("codes", ORIENTATIONS[:8])
def test_the_brain_is_in_the_middle_when_asked(codes):
    brain = np.zeros((30, 30, 5), bool)
    brain[3:9, 16:26, 1:3] = True
    grid = Grid.plan(brain.shape, oriented(codes), size=(12, 12), brain=brain, centre="brain")
    hit = np.argwhere(grid.to_model(brain).any(axis=0))
    if grid.slice_axis == 2:
        assert hit.min(axis=0).tolist() in ([1, 3], [3, 1])
        assert hit.max(axis=0).tolist() in ([10, 8], [8, 10])
    assert grid.outside(brain) == 0


def test_a_brain_that_is_empty_is_centred_as_the_image_is():
    empty = np.zeros((9, 8, 3), bool)
    data = ramp(empty.shape)
    by_brain = Grid.plan(empty.shape, LPS, size=(4, 4), brain=empty, centre="brain")
    by_image = Grid.plan(empty.shape, LPS, size=(4, 4))
    np.testing.assert_array_equal(by_brain.to_model(data), by_image.to_model(data))


def test_what_lies_outside_is_counted_among_voxels_that_are_not_zero():
    data = np.zeros((10, 10, 2))
    data[4:6, 4:6] = 1  # 8 voxels inside
    data[0, 0] = -5  # 2 outside
    grid = Grid.plan(data.shape, LPS, size=(4, 4))
    assert grid.outside(data) == 0.2
    assert grid.outside(np.zeros_like(data)) == 0.0


def test_wrong_shapes_and_an_affine_without_directions_are_refused():
    grid = Grid.plan((4, 5, 6), LPS, size=(8, 8))
    with pytest.raises(ValueError, match=r"\(4, 5, 7\) is not on a grid of \(4, 5, 6\)"):
        grid.to_model(np.zeros((4, 5, 7)))
    with pytest.raises(ValueError, match="not of 8 x 8 pixels"):
        grid.to_source(np.zeros((1, 8, 9)))
    with pytest.raises(ValueError, match="where the brain is"):
        Grid.plan((4, 5, 6), LPS, size=(8, 8), centre="brain")
    with pytest.raises(BadImage, match="without direction"):
        Grid.plan((4, 5, 6), np.diag([1.0, 1, 0, 1]), size=(8, 8))


@pytest.mark.parametrize("step", [0.4, 0.9, 1.1, -0.6, -1.15])
def test_between_voxels_the_value_is_linear(step):
    axis = AxisMap(voxels=12, pixels=7, start=9.3 if step < 0 else 1.7, step=step)
    values = np.random.default_rng(1).normal(size=(12, 1)).astype(np.float32)
    out = np.zeros((7, 1), np.float32)
    resample_plane(values, out, axis, AxisMap(1, 1, 0, 1))
    expected = np.interp(axis.start + step * np.arange(7), np.arange(12), values[:, 0])
    np.testing.assert_allclose(out[:, 0], expected, atol=1e-6)
