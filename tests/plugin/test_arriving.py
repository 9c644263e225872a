"""Layers come one a turn, with what was written while they waited, and not once nobody wants them."""

import numpy as np
import pytest
from napari.components import ViewerModel
from played_runs import SHAPE, add_preview, add_sampled, begin_run, catch_up, events_of, source, volume

from napari_diffseg.events import Preview, Sampled
from napari_diffseg.plugin.grid.frame import Frame
from napari_diffseg.plugin.layers.result_layers import ResultLayers
from plugin_fakes import fake_member


@pytest.fixture
def viewer():
    return ViewerModel()


@pytest.fixture
def results(viewer):
    return ResultLayers(viewer)


def begin(results, **settings):
    """A run whose members have come, and none of whose layers has."""
    events = events_of(**settings)
    begin_run(results, events[0], Frame.of_volume(volume()))
    add_sampled(results, [event for event in events if isinstance(event, Sampled)])


def test_each_turn_adds_one_layer_and_it_shows_what_was_written_while_it_waited(viewer, results):
    begin(results, members=3)
    counts = [len(viewer.layers)]
    while results.catch_up(0.0):
        counts.append(len(viewer.layers))
    assert set(np.diff(counts)) == {0, 1}  # 0 is the turn of a colour bar
    assert not results.is_behind
    stack = np.stack([fake_member(SHAPE, k) for k in range(3)])
    np.testing.assert_allclose(source(viewer.layers["diffseg 1 | mean"]), stack.mean(0), atol=1e-6)
    for k in range(3):
        np.testing.assert_array_equal(source(viewer.layers[f"diffseg 1 | member {k + 1}"]), stack[k])
    mask = viewer.layers["diffseg 1 | mask"]
    on_canvas = mask._slice.image.raw
    np.testing.assert_array_equal(on_canvas, mask.data[viewer.dims.current_step[0]])
    assert on_canvas.any()


@pytest.fixture
def batches(viewer):
    """When napari was told that layers leave together, and that these were all."""
    told = []
    viewer.layers.events.begin_batch.connect(lambda: told.append("begin"))
    viewer.layers.events.end_batch.connect(lambda: told.append(len(viewer.layers)))
    return told


def test_layers_that_are_put_away_leave_one_a_turn_and_garbage_is_collected_once(viewer, results, batches):
    begin(results, members=3)
    catch_up(results)
    count = len(viewer.layers)
    results.show(None)
    assert not any(layer.visible for layer in viewer.layers)
    for left in range(count, 0, -1):
        assert len(viewer.layers) == left
        assert results.catch_up(0.0) == (left > 1)
    assert batches == ["begin", 0]


def test_layers_that_leave_and_are_wanted_back_leave_napari_as_it_was(viewer, results, batches):
    begin(results, members=3)
    catch_up(results)
    shown, count = results.result, len(viewer.layers)
    results.show(None)
    results.catch_up(0.0)
    assert batches == ["begin"]
    results.show(shown)  # the first of them comes again, the others never left
    assert batches == ["begin", count - 1]
    catch_up(results)
    assert len(viewer.layers) == count
    results.show(None)
    results.catch_up(0.0)
    results.leave()
    assert batches[2:] == ["begin", count - 1]


def test_no_layer_comes_before_there_is_something_to_see_in_it(viewer, results):
    events = events_of(members=1)
    begin_run(results, events[0], Frame.of_volume(volume()))
    image = np.zeros(SHAPE[:2], np.float32)
    add_preview(results, Preview(0, 1, image, image))
    assert [layer.name for layer in viewer.layers] == ["diffseg | live"]
    assert not results.is_behind
    results.end()
    begin_run(results, events_of(members=1)[0], Frame.of_volume(volume()))
    assert not results.is_behind  # the run before had no member and leaves nothing


def test_layers_that_wait_come_only_when_their_run_is_on_the_screen_again(viewer, results):
    begin(results, members=3)
    first = results.result
    begin_run(results, events_of(members=1)[0], Frame.of_volume(volume()))
    catch_up(results)
    assert not any(layer.name.startswith("diffseg 1") for layer in viewer.layers)
    results.show(first)
    catch_up(results)
    np.testing.assert_array_equal(source(viewer.layers["diffseg 1 | member 3"]), fake_member(SHAPE, 2))
    assert viewer.layers["diffseg 1 | mask"].visible
    assert viewer.layers["diffseg 1 | uncertainty"].colorbar.visible


def test_layers_that_wait_never_come_when_their_run_is_removed(viewer, results):
    begin(results, members=3)
    results.catch_up(0.0)
    results.arriving.drop_run("diffseg 1")
    catch_up(results)
    assert [layer.name for layer in viewer.layers] == ["diffseg 1 | mean"]


def test_members_that_wait_are_brought_into_one_layer_and_do_not_come_alone(viewer, results):
    begin(results, members=3)
    results.share_layer(True)
    catch_up(results)
    stack = np.stack([fake_member(SHAPE, k) for k in range(3)])
    np.testing.assert_array_equal(source(viewer.layers["diffseg 1 | members"]), stack)
    assert not any("| member " in layer.name for layer in viewer.layers)


def test_layers_of_members_are_in_the_order_of_their_numbers_however_these_come(viewer, results):
    events = events_of(members=5)
    begin_run(results, events[0], Frame.of_volume(volume()))
    sampled = [event for event in events if isinstance(event, Sampled)]
    for come in ((0, 2, 4), (1,), (3,)):
        add_sampled(results, [event for event in sampled if event.member in come])
        catch_up(results)
    members = [f"diffseg 1 | member {k}" for k in (1, 2, 3, 4, 5)]
    assert [layer.name for layer in viewer.layers if layer.name in members] == members
    shown = results.result
    results.show(None)
    catch_up(results)
    results.show(shown)
    catch_up(results)
    assert [layer.name for layer in viewer.layers if layer.name in members] == members
