"""What was not sampled is marked, so that it does not look like no lesion."""

from dataclasses import replace

import numpy as np
import pytest
from napari.components import ViewerModel
from played_runs import SHAPE, add_preview, add_sampled, begin_run, catch_up, events_of, source, volume

from napari_diffseg.events import Preview, Sampled
from napari_diffseg.plugin.grid.frame import Frame
from napari_diffseg.plugin.layers.result_layers import ResultLayers

NAME = "diffseg 1 | not sampled"


@pytest.fixture
def viewer():
    return ViewerModel()


def hatched(viewer):
    """Source slices with lines on them; none where the layer has gone."""
    if NAME not in viewer.layers:
        return []
    marks = source(viewer.layers[NAME])
    return [s for s in range(SHAPE[2]) if marks[:, :, s].any()]


def test_slices_are_hatched_until_a_member_has_come_and_the_layer_goes_with_the_last(viewer):
    results, events = ResultLayers(viewer), events_of(members=2)
    begin_run(results, events[0], Frame.of_volume(volume()))
    sampled = [event for event in events if isinstance(event, Sampled)]
    one, rest = sampled[0], sampled[1:]
    first = Sampled(one.run_id, one.member, one.slices[:1], one.mask[:, :1])
    add_sampled(results, [first])
    catch_up(results)
    to_come = [s for s in events[0].sampled if s != one.slices[0]]
    assert hatched(viewer) == to_come
    assert results.unsampled == f"Hatched is what was not sampled: {len(to_come)} slices to come."
    image = np.zeros(SHAPE[:2], np.float32)
    add_preview(results, Preview(0, to_come[0], image, image))
    assert hatched(viewer) == to_come[1:]  # the live view is seen there
    add_sampled(results, [one, *rest])
    catch_up(results)
    assert hatched(viewer) == []
    assert results.unsampled == ""
    assert NAME not in viewer.layers


def test_what_lies_outside_the_scope_stays_hatched(viewer):
    results, events = ResultLayers(viewer), events_of(members=1, slices="2:3")
    begin_run(results, events[0], Frame.of_volume(volume()))
    add_sampled(results, [event for event in events if isinstance(event, Sampled)])
    results.end()
    catch_up(results)
    assert hatched(viewer) == [s for s in range(SHAPE[2]) if s != 2]
    assert results.unsampled == f"Hatched is what was not sampled: {SHAPE[2] - 1} slices outside the scope."


def test_within_a_slice_all_is_hatched_but_the_drawn_box(viewer):
    results, events = ResultLayers(viewer), events_of(members=1, slices="2:3")
    begin_run(results, replace(events[0], window=((1, 4), (2, 5))), Frame.of_volume(volume()))
    add_sampled(results, [event for event in events if isinstance(event, Sampled)])
    catch_up(results)
    marks = source(viewer.layers[NAME])[:, :, 2]
    assert not marks[1:4, 2:5].any()
    assert marks.any()
    assert "all outside the drawn box" in results.unsampled
