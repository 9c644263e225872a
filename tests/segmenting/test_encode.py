"""A case as a network's input: the same numbers whichever slices are asked for, and no slice before it is."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_diffseg.encode import Channel, encode
from napari_diffseg.errors import BadCase
from napari_diffseg.imaging.intensity import scale_of


def test_a_slice_alone_is_the_same_as_among_all_and_as_the_whole_volume_normalised_first(tiny_checkpoint, tiny_case):
    recipe = tiny_checkpoint.recipe
    seen = encode(tiny_case, recipe)
    images = [tiny_case.volumes[m].data for m in recipe.modalities]
    whole = [scale_of(data, recipe.normalisation, percentile=recipe.percentile)(data) for data in images]
    channels = [seen.grid.to_model(data, slices=seen.sampled) for data in whole]
    np.testing.assert_array_equal(seen.image, np.stack(channels, axis=1))
    last = seen.sampled[-1]
    np.testing.assert_array_equal(encode(tiny_case, recipe).image_of([last])[0], seen.image[-1])
    assert seen.image.dtype == torch.float32


def test_slices_are_worked_out_when_they_are_asked_for_and_once(tiny_checkpoint, tiny_case):
    seen = encode(tiny_case, tiny_checkpoint.recipe)
    calls = []

    def counted(channel):
        return Channel(channel.data, lambda part: calls.append(part.shape) or channel.scale(part))

    seen = replace(seen, channels=tuple(map(counted, seen.channels)))
    a, b = seen.sampled[:2]
    image = seen.image_of([b, a, b])
    assert len(calls) == 2 * len(seen.channels)
    np.testing.assert_array_equal(image[0], image[2])
    assert (image[0] != image[1]).any()
    np.testing.assert_array_equal(seen.image_of([a])[0], image[1])
    assert len(calls) == 2 * len(seen.channels)


def test_no_slices_are_no_rows_of_the_networks_pixels(tiny_checkpoint, tiny_case):
    recipe = tiny_checkpoint.recipe
    seen = encode(tiny_case, recipe, choose=lambda _: ())
    assert tuple(seen.image.shape) == (0, len(recipe.modalities), *recipe.size)


def test_an_image_that_is_missing_is_zero_and_said_so_where_the_network_can_do_without(tiny_checkpoint, tiny_case):
    recipe = tiny_checkpoint.recipe.model_copy(update={"may_miss": True})
    whole = encode(tiny_case, recipe)
    some = replace(tiny_case, volumes={m: v for m, v in tiny_case.volumes.items() if m != "t1ce"})
    seen = encode(some, recipe)
    assert not seen.image[:, 1].any()
    for n in (0, 2, 3):
        np.testing.assert_array_equal(seen.image[:, n], whole.image[:, n])
    assert any("without t1ce" in note for note in seen.warnings)
    assert not any("without" in note for note in whole.warnings)
    other = replace(tiny_case, volumes={"pet": tiny_case.volumes["t1"]})
    with pytest.raises(BadCase, match="needs one of t1, t1ce, t2, flair"):
        encode(other, recipe)


@pytest.fixture
def round_case(tiny_case):
    """The images of a case in a round brain, whose outermost voxels have other intensities on each call."""

    def make(rim):
        x, y = np.ogrid[:14, :12]
        depth = 5 - np.hypot(x - 6.5, y - 5.5)
        volumes = {}
        for n, (m, volume) in enumerate(tiny_case.volumes.items()):
            inner = np.random.default_rng(n).uniform(50, 100, volume.shape)
            data = np.where(depth[..., None] > 2, inner, rim) * (depth > 0)[..., None]
            volumes[m] = replace(volume, data=data.astype(np.float32), path=None)
        return replace(tiny_case, volumes=volumes, reference=None)

    return make


def test_the_rim_that_is_not_shown_has_no_part_in_anything(tiny_checkpoint, round_case):
    recipe = tiny_checkpoint.recipe.model_copy(update={"rim_mm": 1.5})
    bright, dim = (encode(round_case(rim), recipe) for rim in (900.0, 3.0))
    np.testing.assert_array_equal(bright.image, dim.image)
    assert bright.image.any()
    plain = encode(round_case(900.0), tiny_checkpoint.recipe)
    assert plain.rim is None
    assert (plain.image != 0).sum() > (bright.image != 0).sum() > 0


def test_a_slice_that_is_all_rim_is_not_sampled(tiny_checkpoint, round_case):
    case = round_case(100.0)
    for volume in case.volumes.values():
        volume.data[..., 0] = 0
        volume.data[6:8, 5:7, 0] = 50
    seen = encode(case, tiny_checkpoint.recipe.model_copy(update={"rim_mm": 1.0}))
    assert 0 not in seen.sampled
    assert 0 in encode(case, tiny_checkpoint.recipe).sampled


def test_a_sheared_grid_is_said_once_and_not_for_each_image(tiny_checkpoint, tiny_case):
    slanted = tiny_case.affine @ np.array([[1, 0.2, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    volumes = {m: replace(v, affine=slanted) for m, v in tiny_case.volumes.items()}
    warnings = encode(replace(tiny_case, volumes=volumes), tiny_checkpoint.recipe).warnings
    assert sum("sheared" in line for line in warnings) == 1
    assert not any("sheared" in line for line in encode(tiny_case, tiny_checkpoint.recipe).warnings)


def test_slices_without_brain_are_told_of_where_there_are_no_others(tiny_checkpoint, tiny_case):
    volumes = {}
    for name, volume in tiny_case.volumes.items():
        data = volume.data.copy()
        data[..., 3:] = 0
        volumes[name] = replace(volume, data=data)
    case = replace(tiny_case, volumes=volumes)
    seen = encode(case, tiny_checkpoint.recipe, choose=lambda count: range(count)[-2:])
    assert seen.sampled == ()
    assert any("no brain on slices 3 to 4" in note for note in seen.warnings)
    seen = encode(case, tiny_checkpoint.recipe, choose=lambda count: range(count)[-3:])
    assert not any("no brain on" in note for note in seen.warnings)
