"""The slice that is being denoised, as a layer: where it lies, what it shows, and when it comes."""

from dataclasses import replace

import numpy as np
import pytest
from napari.components import ViewerModel
from played_runs import SHAPE, add_preview, begin_run, catch_up, events_of, play, volume

from napari_diffseg.events import Preview
from napari_diffseg.plugin.grid.frame import Frame
from napari_diffseg.plugin.layers.live_layer import Live
from napari_diffseg.plugin.layers.result_layers import ResultLayers


@pytest.fixture
def viewer():
    return ViewerModel()


@pytest.fixture
def results(viewer):
    return ResultLayers(viewer)


@pytest.mark.parametrize("s", range(SHAPE[2]))
def test_the_live_slice_lies_on_its_source_slice(viewer, results, s):
    frame = Frame.of_volume(volume())
    begin_run(results, events_of(members=1)[0], frame)
    image = np.random.default_rng(s).random((SHAPE[0], SHAPE[1])).astype(np.float32)
    add_preview(results, Preview(0, s, image, image))
    live = viewer.layers["diffseg | live"]
    spot = np.zeros(SHAPE, np.float32)
    spot[..., s] = image
    shown = frame.to_display(spot)
    first = np.round(np.asarray(live.data_to_world((0, 0, 0))) - frame.placement()["translate"], 9)
    index = np.round(first / frame.placement()["scale"]).astype(int)
    box = tuple(slice(i, i + n) for i, n in zip(index, live.data.shape, strict=True))
    np.testing.assert_array_equal(live.data, shown[box])
    assert np.count_nonzero(shown) == np.count_nonzero(live.data)


def test_the_live_layer_shows_the_sample_instead_of_the_mask_from_the_next_preview_on(viewer, results):
    frame = Frame.of_volume(volume())
    begin_run(results, events_of(members=1)[0], frame)
    mask, sample = np.full(SHAPE[:2], 0.25, np.float32), np.full(SHAPE[:2], -1.75, np.float32)
    add_preview(results, Preview(0, 1, mask, sample))
    live = viewer.layers["diffseg | live"]
    assert (np.unique(live.data), live.colormap.name) == (0.25, "cyan, clear at 0")
    results.live.choose(Live.SAMPLE)
    add_preview(results, Preview(0, 1, mask, sample))
    assert (np.unique(live.data), live.colormap.name, live.contrast_limits) == (-1.75, "gray", [-2.5, 2.5])
    results.live.choose(Live.MASK)
    add_preview(results, Preview(0, 1, mask, sample))
    assert (np.unique(live.data), live.contrast_limits) == (0.25, [0.0, 1.0])


def test_the_live_layer_is_there_and_empty_before_the_first_preview_which_needs_no_other(viewer, results):
    frame = Frame.of_volume(volume())
    begin_run(results, events_of(members=1)[0], frame)
    results.live.prepare()
    assert not results.catch_up(0.0)
    live = viewer.layers["diffseg | live"]
    assert not live.data.any()
    image = np.random.default_rng(0).random(SHAPE[:2]).astype(np.float32)
    add_preview(results, Preview(0, 3, image, image))
    assert [layer.name for layer in viewer.layers] == ["diffseg | live"]
    np.testing.assert_array_equal(frame.to_source(np.asarray(live.data))[..., 0], image)
    np.testing.assert_allclose(live.translate, frame.placement(frame.slab_offset(2, 3))["translate"])


def test_a_preview_that_comes_before_the_live_layer_brings_it(viewer, results):
    begin_run(results, events_of(members=1)[0], Frame.of_volume(volume()))
    results.live.prepare()
    add_preview(results, Preview(0, 3, *[np.ones(SHAPE[:2], np.float32)] * 2))
    assert [layer.name for layer in viewer.layers] == ["diffseg | live"]
    assert viewer.layers["diffseg | live"].visible
    assert not results.is_behind


def test_a_run_that_begins_before_the_live_layer_has_come_makes_no_other(viewer, results):
    for axes in ((0, 1, 2), (2, 0, 1)):  # the second run is of another grid
        grid = replace(volume(), data=volume().data.transpose(axes).copy())
        shape = grid.data.shape
        begin_run(results, replace(events_of(members=1)[0], source_shape=shape), Frame.of_volume(grid))
        results.live.prepare()
    catch_up(results)
    assert [layer.name for layer in viewer.layers] == ["diffseg | live"]
    add_preview(results, Preview(0, 3, *[np.ones(shape[:2], np.float32)] * 2))
    assert [layer.name for layer in viewer.layers] == ["diffseg | live"]
    live = viewer.layers["diffseg | live"]
    assert live.visible
    assert sorted(live.data.shape) == sorted((*shape[:2], 1))
    assert live.data.all()


def test_the_live_layer_is_not_prepared_in_3d(viewer, results):
    viewer.dims.ndisplay = 3
    begin_run(results, events_of(members=1)[0], Frame.of_volume(volume()))
    results.live.prepare()
    assert not results.is_behind


def test_one_live_layer_serves_all_runs(viewer, results):
    play(results, events_of(members=1))
    play(results, events_of(members=1))
    assert [layer.name for layer in viewer.layers].count("diffseg | live") == 1
    assert "diffseg 2 | mask" in viewer.layers


def test_no_preview_is_drawn_in_3d(viewer, results):
    viewer.dims.ndisplay = 3
    play(results, events_of(members=1))
    assert "diffseg | live" not in viewer.layers
