"""Another rule, threshold, measure or number of members changes the layers of a run, and nothing is sampled again."""

import numpy as np
import pytest
from napari.components import ViewerModel
from played_runs import SHAPE, add_sampled, catch_up, events_of, play, source

from napari_diffseg.ensemble.summary import Measure, Rule, Summary
from napari_diffseg.events import Sampled
from napari_diffseg.plugin.grid.frame import METADATA_KEY
from napari_diffseg.plugin.layers.result_layers import ResultLayers
from plugin_fakes import fake_member


@pytest.fixture
def viewer():
    return ViewerModel()


@pytest.fixture
def results(viewer):
    return ResultLayers(viewer)


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
    assert results.result.ensemble.members == (0, 1, 2, 3)


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
            add_sampled(results, [event])
    np.testing.assert_array_equal(source(viewer.layers["diffseg 1 | mask"]), stack_of(3).any(0))
    np.testing.assert_allclose(source(viewer.layers["mine"]), 2 * stack_of(3).var(0, ddof=1), atol=1e-6)
    play(results, events_of(members=2))
    assert "diffseg 2 | uncertainty (disagreement)" in viewer.layers


def test_nothing_is_drawn_anew_before_the_first_run(results):
    results.summarise(Summary(Rule.MEAN, 0.2))
    assert not results.catch_up(0.0)
    assert results.members == ()
