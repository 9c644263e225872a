"""Events to layers on a viewer model without a window: places, values, and layers that the user has removed."""

import numpy as np
import pytest
from napari.components import ViewerModel
from played_runs import RAS_LIKE, SHAPE, add_preview, add_sampled, begin_run, catch_up, events_of, play, source, volume

from napari_diffseg.events import Sampled, Stepped
from napari_diffseg.plugin.grid.frame import METADATA_KEY, RESULT_KEY, Frame
from napari_diffseg.plugin.grid.layer_volume import frame_of_layer
from napari_diffseg.plugin.layers.result_layers import MOST_MEMBER_LAYERS, ResultLayers
from plugin_fakes import fake_member


@pytest.fixture
def viewer():
    return ViewerModel()


@pytest.fixture
def results(viewer):
    return ResultLayers(viewer)


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
        add_sampled(results, [event])
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


def test_events_of_another_run_change_nothing(viewer, results):
    begin_run(results, events_of(members=1)[0], Frame.of_volume(volume()))
    add_sampled(results, [Sampled("stale", 0, (2,), np.ones((1, 1, *SHAPE[:2]), np.bool_))])
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
            add_sampled(results, [event])
        elif isinstance(event, Stepped):
            add_preview(results, event.preview)
    results.end()
    stack = np.stack([fake_member(SHAPE, k) for k in range(2)])
    np.testing.assert_allclose(source(viewer.layers["my mean"]), stack.mean(0))
    assert "diffseg 1 | mask" not in viewer.layers


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


def test_a_new_run_puts_the_layers_of_the_last_away(viewer, results):
    play(results, events_of(members=1))
    play(results, events_of(members=1))
    assert not any(layer.name.startswith("diffseg 1") for layer in viewer.layers)
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
