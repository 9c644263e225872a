"""Events to layers on a viewer model without a window: places, values, and layers that the user has removed."""

from types import SimpleNamespace

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_diffseg.events import Preview, Sampled, SegmentRequest, Started, Stepped
from napari_diffseg.imaging.volume import Volume
from napari_diffseg.plugin.frame import METADATA_KEY, RESULT_KEY, Frame
from napari_diffseg.plugin.layer_volume import frame_of_layer
from napari_diffseg.plugin.live_layer import Live
from napari_diffseg.plugin.result_layers import MOST_MEMBER_LAYERS, ResultLayers
from napari_diffseg.recipe import Recipe
from napari_diffseg.segmenting.summary import Measure, Rule, Summary
from plugin_fakes import FakeSegmenter, fake_member

SHAPE = (7, 6, 5)
RAS_LIKE = np.array([[0, 2.0, 0, -5], [0, 0, -1.5, 4], [1.0, 0, 0, 3], [0, 0, 0, 1]])


def volume():
    data = np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE)
    return Volume(data=data, affine=RAS_LIKE, header=None, path=None, notes=())


def events_of(*, labels=("lesion",), **settings):
    recipe = Recipe(modalities=("t1",), labels=labels)
    case = SimpleNamespace(id="case", shape=SHAPE)
    return list(FakeSegmenter(recipe).segment(case, SegmentRequest(**settings)))


def play(results, events, frame=None):
    for event in events:
        match event:
            case Started():
                results.begin(event, frame or Frame.of_volume(volume()))
            case Stepped(preview=Preview() as preview):
                results.show_preview(preview)
            case Sampled():
                results.show_sampled([event])
    results.end()
    catch_up(results)


def catch_up(results):
    while results.catch_up(0.0):
        pass


@pytest.fixture
def viewer():
    return ViewerModel()


@pytest.fixture
def results(viewer):
    return ResultLayers(viewer)


def source(layer):
    return layer.metadata[METADATA_KEY].to_source(np.asarray(layer.data))


def test_a_finished_run_is_shown_exactly(viewer, results):
    play(results, events_of(members=3))
    stack = np.stack([fake_member(SHAPE, k) for k in range(3)])
    np.testing.assert_allclose(source(viewer.layers["diffseg 1 | mean"]), stack.mean(0), atol=1e-6)
    np.testing.assert_allclose(source(viewer.layers["diffseg 1 | uncertainty"]), stack.var(0, ddof=1), atol=1e-6)
    np.testing.assert_array_equal(source(viewer.layers["diffseg 1 | mask"]), stack.mean(0) > 0.5)
    for k in range(3):
        np.testing.assert_array_equal(source(viewer.layers[f"diffseg 1 | member {k + 1}"]), stack[k])
    assert not viewer.layers["diffseg | live"].visible


def test_maps_build_up_member_by_member(viewer, results):
    events = [e for e in events_of(members=3) if not isinstance(e, Stepped)]
    play(results, events[:1])
    s = next(e for e in events if isinstance(e, Sampled) and e.mask.any()).slices
    of_slice = [e for e in events if isinstance(e, Sampled) and e.slices == s]
    for n, event in enumerate(of_slice, start=1):
        results.show_sampled([event])
        catch_up(results)
        votes = np.mean([fake_member(SHAPE, k)[..., s[0]] for k in range(n)], axis=0)
        np.testing.assert_allclose(source(viewer.layers["diffseg 1 | mean"])[..., s[0]], votes, atol=1e-6)
        if n == 1:
            assert not source(viewer.layers["diffseg 1 | uncertainty"]).any()


def test_results_lie_where_the_source_lies_and_are_never_inputs(viewer, results):
    frame = Frame.of_volume(volume())
    play(results, events_of(members=1), frame)
    for layer in viewer.layers:
        if layer.name != "diffseg | live":
            np.testing.assert_allclose(layer.scale, frame.placement()["scale"])
            np.testing.assert_allclose(layer.translate, frame.placement()["translate"])
            np.testing.assert_array_equal(frame_of_layer(layer).volume.affine, RAS_LIKE)
        assert RESULT_KEY in layer.metadata
        assert tuple(str(u) for u in layer.units) == ("millimeter",) * 3


@pytest.mark.parametrize("s", range(SHAPE[2]))
def test_the_live_slice_lies_on_its_source_slice(viewer, results, s):
    frame = Frame.of_volume(volume())
    results.begin(events_of(members=1)[0], frame)
    image = np.random.default_rng(s).random((SHAPE[0], SHAPE[1])).astype(np.float32)
    results.show_preview(Preview(0, s, image, image))
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
    results.begin(events_of(members=1)[0], frame)
    mask, sample = np.full(SHAPE[:2], 0.25, np.float32), np.full(SHAPE[:2], -1.75, np.float32)
    results.show_preview(Preview(0, 1, mask, sample))
    live = viewer.layers["diffseg | live"]
    assert (np.unique(live.data), live.colormap.name) == (0.25, "cyan, clear at 0")
    results.live.choose(Live.SAMPLE)
    results.show_preview(Preview(0, 1, mask, sample))
    assert (np.unique(live.data), live.colormap.name, live.contrast_limits) == (-1.75, "gray", [-2.5, 2.5])
    results.live.choose(Live.MASK)
    results.show_preview(Preview(0, 1, mask, sample))
    assert (np.unique(live.data), live.contrast_limits) == (0.25, [0.0, 1.0])


def test_the_live_layer_is_there_and_empty_before_the_first_preview_which_needs_no_other(viewer, results):
    frame = Frame.of_volume(volume())
    results.begin(events_of(members=1)[0], frame)
    results.live.prepare()
    assert not results.catch_up(0.0)
    live = viewer.layers["diffseg | live"]
    assert not live.data.any()
    image = np.random.default_rng(0).random(SHAPE[:2]).astype(np.float32)
    results.show_preview(Preview(0, 3, image, image))
    assert [layer.name for layer in viewer.layers] == ["diffseg | live"]
    np.testing.assert_array_equal(frame.to_source(np.asarray(live.data))[..., 0], image)
    np.testing.assert_allclose(live.translate, frame.placement(frame.slab_offset(2, 3))["translate"])


def test_a_preview_that_comes_before_the_live_layer_brings_it(viewer, results):
    results.begin(events_of(members=1)[0], Frame.of_volume(volume()))
    results.live.prepare()
    results.show_preview(Preview(0, 3, *[np.ones(SHAPE[:2], np.float32)] * 2))
    assert [layer.name for layer in viewer.layers] == ["diffseg | live"]
    assert viewer.layers["diffseg | live"].visible
    assert not results.is_behind


def test_the_live_layer_is_not_prepared_in_3d(viewer, results):
    viewer.dims.ndisplay = 3
    results.begin(events_of(members=1)[0], Frame.of_volume(volume()))
    results.live.prepare()
    assert not results.is_behind


def test_one_live_layer_serves_all_runs(viewer, results):
    play(results, events_of(members=1))
    play(results, events_of(members=1))
    assert [layer.name for layer in viewer.layers].count("diffseg | live") == 1
    assert "diffseg 2 | mask" in viewer.layers


def test_events_of_another_run_change_nothing(viewer, results):
    results.begin(events_of(members=1)[0], Frame.of_volume(volume()))
    results.show_sampled([Sampled("stale", 0, (2,), np.ones((1, 1, *SHAPE[:2]), np.bool_))])
    assert not source(results.view.mean[0]).any()
    assert results.members == ()


def test_a_layer_removed_during_the_run_stays_away_and_the_others_go_on(viewer, results):
    events = events_of(members=2)
    play(results, events[: len(events) // 2])
    viewer.layers.remove("diffseg 1 | mask")
    viewer.layers["diffseg 1 | mean"].name = "my mean"
    viewer.layers.remove("diffseg | live")
    for event in events[len(events) // 2 :]:
        if isinstance(event, Sampled):
            results.show_sampled([event])
        elif isinstance(event, Stepped):
            results.show_preview(event.preview)
    results.end()
    stack = np.stack([fake_member(SHAPE, k) for k in range(2)])
    np.testing.assert_allclose(source(viewer.layers["my mean"]), stack.mean(0))
    assert "diffseg 1 | mask" not in viewer.layers


def begin(results, **settings):
    """A run whose members have come, and none of whose layers has."""
    events = events_of(**settings)
    results.begin(events[0], Frame.of_volume(volume()))
    results.show_sampled([event for event in events if isinstance(event, Sampled)])


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


def test_no_layer_comes_before_there_is_something_to_see_in_it(viewer, results):
    events = events_of(members=1)
    results.begin(events[0], Frame.of_volume(volume()))
    image = np.zeros(SHAPE[:2], np.float32)
    results.show_preview(Preview(0, 1, image, image))
    assert [layer.name for layer in viewer.layers] == ["diffseg | live"]
    assert not results.is_behind
    results.end()
    results.begin(events_of(members=1)[0], Frame.of_volume(volume()))
    assert not results.is_behind  # the run before had no member and leaves nothing


def test_layers_that_wait_come_out_of_sight_when_another_run_has_begun(viewer, results):
    begin(results, members=3)
    results.begin(events_of(members=1)[0], Frame.of_volume(volume()))
    catch_up(results)
    np.testing.assert_array_equal(source(viewer.layers["diffseg 1 | member 3"]), fake_member(SHAPE, 2))
    assert not any(layer.visible for layer in viewer.layers)


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


def test_a_map_out_of_sight_has_its_colour_bar_when_it_is_brought_into_it_and_keeps_what_the_user_chose(
    viewer, results
):
    play(results, events_of(members=2))
    mean = viewer.layers["diffseg 1 | mean"]
    assert not mean.colorbar.visible
    mean.visible = True
    assert mean.colorbar.visible
    assert mean.name_overlay.visible
    mean.colorbar.visible = False
    mean.visible = False
    mean.visible = True
    assert not mean.colorbar.visible


@pytest.mark.parametrize("mode", ["polygon", "paint"])
def test_what_is_drawn_while_painting_is_there_once_a_tool_is_taken(viewer, results, mode):
    play(results, events_of(members=1))
    mask = viewer.layers["diffseg 1 | mask"]
    aids = [mask._overlays[name] for name in ("polygon", "brush_stroke")]
    assert not any(aid.visible for aid in aids)
    mask.mode = mode
    assert all(aid.visible for aid in aids)
    assert any(aid.enabled for aid in aids)


def test_nobody_hears_of_a_selection_that_is_taken_back_at_once(viewer, results):
    viewer.add_image(np.ones((3, 3, 3)), name="mine")
    heard = []
    viewer.layers.selection.events.connect(heard.append)
    play(results, events_of(members=2))
    assert heard == []


def test_no_preview_is_drawn_in_3d(viewer, results):
    viewer.dims.ndisplay = 3
    play(results, events_of(members=1))
    assert "diffseg | live" not in viewer.layers


def test_many_members_share_a_layer_with_a_slider(viewer, results):
    play(results, events_of(members=13, first_member=2))
    layer = viewer.layers["diffseg 1 | members"]
    assert layer.data.shape[0] == 13
    assert not any("| member " in other.name for other in viewer.layers)
    frame = layer.metadata[METADATA_KEY]
    for n in (0, 12):
        np.testing.assert_array_equal(frame.to_source(layer.data)[n], fake_member(SHAPE, n + 2))
    np.testing.assert_allclose(layer.translate[1:], frame.placement()["translate"])


def test_several_labels_have_maps_of_their_own_and_number_the_mask(viewer, results):
    play(results, events_of(members=2, labels=("edema", "core")))
    assert {"diffseg 1 | mean edema", "diffseg 1 | uncertainty core"} <= {layer.name for layer in viewer.layers}
    assert set(np.unique(viewer.layers["diffseg 1 | mask"].data)) == {0, 2}


def test_the_uncertainty_has_a_legend_with_fixed_limits(viewer, results):
    play(results, events_of(members=2))
    layer = viewer.layers["diffseg 1 | uncertainty"]
    assert tuple(layer.contrast_limits) == (0.0, 0.5)
    assert layer.colorbar.visible
    assert layer.name_overlay.visible
    assert layer.name_overlay.position == layer.colorbar.position
    assert layer.visible


def test_the_selection_stays_with_the_user_during_a_run(viewer, results):
    mine = viewer.add_image(np.ones((3, 3, 3)), name="mine")
    play(results, events_of(members=2))
    assert set(viewer.layers.selection) == {mine}
    assert viewer.layers.selection.active is mine


def test_a_new_run_puts_the_last_ones_results_out_of_sight(viewer, results):
    play(results, events_of(members=1))
    play(results, events_of(members=1))
    assert not viewer.layers["diffseg 1 | mask"].visible
    assert viewer.layers["diffseg 2 | mask"].visible


@pytest.mark.filterwarnings("ignore:Contours are not displayed")
def test_masks_are_outlines_in_2d_and_filled_in_3d(viewer, results):
    play(results, events_of(members=1))
    viewer.dims.ndisplay = 3
    assert viewer.layers["diffseg 1 | mask"].contour == 0
    viewer.dims.ndisplay = 2
    assert viewer.layers["diffseg 1 | mask"].contour == 1


def test_maps_are_clear_where_they_are_zero(viewer, results):
    play(results, events_of(members=2))
    colors = viewer.layers["diffseg 1 | uncertainty"].colormap.map(np.array([0.0, 0.5, 1.0]))
    assert colors[0, 3] == 0
    assert (colors[1:, 3] == 1).all()


def stack_of(count):
    return np.stack([fake_member(SHAPE, k) for k in range(count)])


def test_another_threshold_and_measure_change_the_layers_without_sampling(viewer, results):
    play(results, events_of(members=3))
    results.summarise(Summary(Rule.MEAN, 0.3, Measure.ENTROPY))
    catch_up(results)
    mean = stack_of(3).mean(0)
    np.testing.assert_array_equal(source(viewer.layers["diffseg 1 | mask"]), mean > 0.3)
    assert (mean > 0.3).sum() > (mean > 0.5).sum()
    shown = viewer.layers["diffseg 1 | uncertainty (entropy, bits)"]
    p = np.where((mean > 0) & (mean < 1), mean, 0.5)
    entropy = np.where((mean > 0) & (mean < 1), -p * np.log2(p) - (1 - p) * np.log2(1 - p), 0)
    np.testing.assert_allclose(source(shown), entropy, atol=1e-6)
    assert tuple(shown.contrast_limits) == (0.0, 1.0)
    results.summarise(Summary())
    catch_up(results)
    np.testing.assert_allclose(source(viewer.layers["diffseg 1 | uncertainty"]), stack_of(3).var(0, ddof=1), atol=1e-6)


def test_showing_fewer_members_hides_the_others_and_deletes_none(viewer, results):
    play(results, events_of(members=4))
    viewer.layers["diffseg 1 | member 4"].visible = True
    results.summarise(Summary(), first=2)
    catch_up(results)
    np.testing.assert_allclose(source(viewer.layers["diffseg 1 | mean"]), stack_of(2).mean(0))
    assert not viewer.layers["diffseg 1 | member 4"].visible
    results.summarise(Summary())
    catch_up(results)
    np.testing.assert_allclose(source(viewer.layers["diffseg 1 | mean"]), stack_of(4).mean(0))
    assert viewer.layers["diffseg 1 | member 4"].visible
    assert not viewer.layers["diffseg 1 | member 3"].visible
    assert results.ensemble.members == (0, 1, 2, 3)


def test_the_member_slider_ends_where_the_shown_members_end(viewer, results):
    play(results, events_of(members=13))
    for first, count in [(5, 5), (None, 13)]:
        results.summarise(Summary(), first=first)
        assert viewer.layers["diffseg 1 | members"].data.shape[0] == count


def test_the_slice_on_screen_is_drawn_anew_first(viewer, results):
    play(results, events_of(members=3))
    mask = viewer.layers["diffseg 1 | mask"]
    frame = mask.metadata[METADATA_KEY]
    axis = frame.axes.index(2)
    viewer.dims.set_point(axis, mask.data_to_world((2, 2, 2))[axis])
    s = frame.source_index((2, 2, 2), 2)
    before = source(mask).copy()
    results.summarise(Summary(Rule.MEAN, 0.05))
    assert results.catch_up(0.0)
    assert np.flatnonzero((source(mask) != before).any((0, 1))).tolist() == [s]


def test_members_to_come_follow_the_summary_and_a_users_name_stays(viewer, results):
    events = events_of(members=3)
    first = next(n for n, event in enumerate(events, start=1) if isinstance(event, Sampled))
    play(results, events[:first])
    viewer.layers["diffseg 1 | uncertainty"].name = "mine"
    results.summarise(Summary(Rule.MEAN, 0.05, Measure.DISAGREEMENT))
    for event in events[first:]:
        if isinstance(event, Sampled):
            results.show_sampled([event])
    np.testing.assert_array_equal(source(viewer.layers["diffseg 1 | mask"]), stack_of(3).any(0))
    np.testing.assert_allclose(source(viewer.layers["mine"]), 2 * stack_of(3).var(0, ddof=1), atol=1e-6)
    play(results, events_of(members=2))
    assert "diffseg 2 | uncertainty (disagreement)" in viewer.layers


def test_nothing_is_drawn_anew_before_the_first_run(results):
    results.summarise(Summary(Rule.MEAN, 0.2))
    assert not results.catch_up(0.0)
    assert results.members == ()


def test_members_share_a_layer_by_choice_and_are_parted_again(viewer):
    made = ResultLayers(viewer)
    events = events_of(members=3)
    play(made, events[:-4])
    separate = {layer.name: np.asarray(layer.data).copy() for layer in viewer.layers if "| member " in layer.name}
    made.share_layer(True)
    catch_up(made)
    assert not any("| member " in layer.name for layer in viewer.layers)
    together = viewer.layers["diffseg 1 | members"]
    np.testing.assert_array_equal(together.data, list(separate.values()))
    made.share_layer(False)
    catch_up(made)
    assert "diffseg 1 | members" not in viewer.layers
    again = {layer.name: np.asarray(layer.data) for layer in viewer.layers if "| member " in layer.name}
    assert list(again) == list(separate)
    for name, data in separate.items():
        np.testing.assert_array_equal(again[name], data)
    made.share_layer(True)
    play(made, events_of(members=2))  # the next run keeps to it
    assert viewer.layers["diffseg 2 | members"].data.shape[0] == 2
    assert not any("diffseg 2 | member " in layer.name for layer in viewer.layers)


def test_many_members_share_a_layer_in_any_case(viewer):
    made = ResultLayers(viewer)
    made.share_layer(False)
    play(made, events_of(members=MOST_MEMBER_LAYERS + 1))
    made.share_layer(False)
    assert "diffseg 1 | members" in viewer.layers
