"""Where a voxel is on the screen, and back: exact for every orientation, without a viewer."""

from itertools import permutations, product

import nibabel as nib
import numpy as np
import pytest
from napari.layers import Image, Layer

from napari_diffseg.errors import BadImage
from napari_diffseg.imaging.volume import Volume
from napari_diffseg.plugin.grid.frame import Frame
from napari_diffseg.plugin.grid.layer_volume import frame_of_layer

SHAPE = (4, 3, 5)
SPACING = (0.9, 1.1, 3.0)
ORIENTATIONS = [(axes, flips) for axes in permutations(range(3)) for flips in product((1, -1), repeat=3)]


def affine_of(axes, flips, *, tilt_degrees=0.0):
    """Voxel to RAS+ mm: axis i runs along world axis axes[i], forwards or backwards, then everything is tilted."""
    affine = np.eye(4)
    affine[:3, :3] = 0
    for voxel_axis, (world_axis, flip) in enumerate(zip(axes, flips, strict=True)):
        affine[world_axis, voxel_axis] = flip * SPACING[voxel_axis]
    affine[:3, 3] = (-20.0, 30.0, 7.0)
    t = np.radians(tilt_degrees)
    tilt = np.array([[np.cos(t), -np.sin(t), 0], [np.sin(t), np.cos(t), 0], [0, 0, 1]])
    affine[:3, :3] = tilt @ affine[:3, :3]
    return affine


def volume_of(affine, shape=SHAPE):
    data = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    return Volume(data=data, affine=affine, header=None, path=None, notes=())


def layer_of(volume):
    frame = Frame.of_volume(volume)
    return Image(frame.to_display(volume.data), name="t1", **frame.layer_attributes())


@pytest.mark.parametrize("tilt", [0.0, 12.0])
@pytest.mark.parametrize(("axes", "flips"), ORIENTATIONS)
def test_every_orientation_is_shown_upright_and_comes_back_exactly(axes, flips, tilt):
    volume = volume_of(affine_of(axes, flips, tilt_degrees=tilt))
    frame = Frame.of_volume(volume)
    shown = frame.to_display(volume.data)
    assert np.shares_memory(shown, volume.data)
    np.testing.assert_array_equal(frame.to_source(shown), volume.data)
    lps = nib.as_closest_canonical(nib.Nifti1Image(volume.data, volume.affine)).get_fdata()[::-1, ::-1]
    np.testing.assert_array_equal(shown, lps.transpose(2, 1, 0))


@pytest.mark.parametrize(("axes", "flips"), ORIENTATIONS)
def test_a_voxel_of_an_upright_grid_is_at_its_true_place_in_napari(axes, flips):
    volume = volume_of(affine_of(axes, flips))
    layer = layer_of(volume)
    for display in [(0, 0, 0), (1, 2, 1)]:
        value = layer.data[display]
        voxel = np.argwhere(volume.data == value)[0]
        right, anterior, superior = nib.affines.apply_affine(volume.affine, voxel)
        np.testing.assert_allclose(layer.data_to_world(display), (-superior, -anterior, -right), atol=1e-9)


@pytest.mark.parametrize(("axes", "flips"), ORIENTATIONS)
def test_a_source_slice_is_found_from_the_screen_and_put_back_there(axes, flips):
    frame = Frame.of_volume(volume_of(affine_of(axes, flips)))
    for axis, index in [(0, 1), (1, 2), (2, 4)]:
        offset = frame.slab_offset(axis, index)
        assert frame.source_index(offset, axis) == index
        slab = np.take(frame.volume.data, [index], axis)
        display_axis = frame.axes.index(axis)
        expected = np.take(frame.to_display(frame.volume.data), [offset[display_axis]], display_axis)
        np.testing.assert_array_equal(frame.to_display(slab), expected)


def test_a_point_beside_the_volume_gives_its_nearest_slice():
    frame = Frame.of_volume(volume_of(affine_of((0, 1, 2), (1, 1, 1))))
    assert frame.source_index((-9.0, 0.0, 0.0), 2) == 0
    assert frame.source_index((99.0, 0.0, 0.0), 2) == 4


def test_members_in_front_of_the_three_axes_stay_there():
    frame = Frame.of_volume(volume_of(affine_of((1, 2, 0), (1, -1, 1))))
    stack = np.random.default_rng(0).random((2, *SHAPE))
    np.testing.assert_array_equal(frame.to_display(stack)[1], frame.to_display(stack[1]))
    np.testing.assert_array_equal(frame.to_source(frame.to_display(stack)), stack)


def test_a_tilted_grid_is_known_to_be_oblique():
    assert Frame.of_volume(volume_of(affine_of((0, 1, 2), (1, 1, 1), tilt_degrees=5))).is_oblique
    assert not Frame.of_volume(volume_of(affine_of((2, 0, 1), (1, -1, 1)))).is_oblique


@pytest.mark.parametrize("tilt", [0.0, 12.0])
def test_our_layer_gives_back_its_very_volume(tilt):
    volume = volume_of(affine_of((1, 0, 2), (1, -1, 1), tilt_degrees=tilt))
    assert frame_of_layer(layer_of(volume)).volume is volume


def test_a_layer_whose_data_were_replaced_keeps_the_grid_but_not_the_files_name(tmp_path):
    volume = volume_of(affine_of((1, 0, 2), (1, -1, 1)))
    layer = layer_of(Volume(data=volume.data, affine=volume.affine, header=None, path=tmp_path / "t1.nii", notes=()))
    layer.data = layer.data * 2
    present = frame_of_layer(layer).volume
    np.testing.assert_array_equal(present.data, volume.data * 2)
    np.testing.assert_array_equal(present.affine, volume.affine)
    assert present.path is None


def test_a_layer_of_another_reader_is_placed_by_its_transform():
    layer = Image(np.ones(SHAPE), scale=(3.0, 2.0, 1.0), translate=(10.0, 20.0, 30.0))
    frame = frame_of_layer(layer)
    expected = [[0, 0, -1, -30], [0, -2, 0, -20], [3, 0, 0, 10], [0, 0, 0, 1]]
    np.testing.assert_array_equal(frame.volume.affine, expected)
    assert "directions are assumed" in frame.volume.notes[0]
    np.testing.assert_array_equal(frame.placement()["scale"], layer.scale)
    np.testing.assert_array_equal(frame.placement()["translate"], layer.translate)


def test_axis_labels_and_units_of_another_reader_are_believed():
    layer = Image(np.ones(SHAPE), axis_labels=("R", "A", "S"), units=("um", "um", "um"), scale=(500, 1000, 1000))
    frame = frame_of_layer(layer)
    np.testing.assert_allclose(frame.volume.affine, np.diag([0.5, 1.0, 1.0, 1.0]))
    assert frame.volume.notes == ()


def test_our_layer_that_was_moved_by_hand_is_taken_where_it_is_now():
    layer = layer_of(volume_of(affine_of((0, 1, 2), (-1, -1, 1))))
    layer.translate = tuple(np.add(layer.translate, (0.0, 4.0, 0.0)))
    moved = frame_of_layer(layer)
    assert moved.volume.affine[1, 3] == pytest.approx(30.0 - 4.0)
    np.testing.assert_array_equal(moved.to_display(moved.volume.data), layer.data)


@pytest.mark.parametrize("data", [np.ones((4, 4)), np.ones((2, 4, 4, 4))])
def test_what_is_not_a_volume_is_refused_in_a_sentence(data):
    with pytest.raises(BadImage, match="Layer odd: "):
        frame_of_layer(Layer.create(data, {"name": "odd"}, "image"))
