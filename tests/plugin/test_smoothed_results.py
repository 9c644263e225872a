"""The layers of a run that smooths its vote map: the slice on the screen at once, the others soon."""

from dataclasses import replace

import numpy as np
import pytest
from napari.components import ViewerModel
from played_runs import add_expected, add_sampled, begin_run, catch_up, events_of, play, source

from napari_diffseg.ensemble.ensemble import Ensemble
from napari_diffseg.ensemble.summary import Measure, Rule, Summary
from napari_diffseg.events import Expected, Refined, Sampled, Stepped
from napari_diffseg.plugin.explore.pointer import describe_point, describe_votes
from napari_diffseg.plugin.layers.result_layers import ResultLayers


@pytest.fixture
def viewer():
    return ViewerModel()


@pytest.fixture
def results(viewer):
    return ResultLayers(viewer)


def smoothed_events(mm=1.0, members=3):
    """A run whose checkpoint smooths."""
    started, *others = events_of(members=members)
    return [replace(started, smoothing_mm=mm, rule="probability"), *others]


def whole(events):
    """The ensemble of all that was sampled, without layers."""
    ensemble = Ensemble.for_run(events[0])
    for event in events:
        if isinstance(event, Expected | Refined | Sampled):
            ensemble.take(event)
    return ensemble


def assert_shown(viewer, ensemble):
    np.testing.assert_array_equal(source(viewer.layers["diffseg 1 | mean"]), ensemble.mean()[0])
    variance = np.nan_to_num(ensemble.variance()[0])
    np.testing.assert_array_equal(source(viewer.layers["diffseg 1 | uncertainty"]), variance)
    probability = ensemble.probability()[0]
    np.testing.assert_array_equal(source(viewer.layers["diffseg 1 | probability"]), probability)
    np.testing.assert_array_equal(source(viewer.layers["diffseg 1 | mask"]), probability > 0.5)


def test_the_layers_hold_what_the_engine_says(viewer, results):
    events = smoothed_events()
    play(results, events)
    ensemble = whole(events)
    assert_shown(viewer, ensemble)
    assert not np.array_equal(ensemble.probability(), ensemble.mean())
    results.summarise(Summary(Rule.MAJORITY, measure=Measure.PROBABILITY))
    catch_up(results)
    np.testing.assert_array_equal(source(viewer.layers["diffseg 1 | mask"]), ensemble.consensus()[0])
    p = ensemble.probability()[0]
    name = "diffseg 1 | uncertainty (p (1 - p) of the smoothed probability)"
    np.testing.assert_array_equal(source(viewer.layers[name]), p * (1 - p))


def test_the_one_step_estimate_has_its_part_in_the_layers(viewer, results):
    events = smoothed_events()
    play(results, events[:1])
    shape = whole(events).probability_slice(0)[0].shape
    told = [
        Expected(events[0].run_id, (s,), np.random.default_rng(s).random(shape, np.float32)[:, None])
        for s in events[0].sampled
    ]
    begun = whole([events[0], *told, *events[1:]])
    for event in told:
        add_expected(results, event)
    add_sampled(results, [e for e in events if isinstance(e, Sampled)])
    catch_up(results)
    assert_shown(viewer, begun)
    assert not np.array_equal(begun.probability(), whole(events).probability())


def test_each_member_reaches_the_neighbours_of_its_slices(viewer, results):
    events = [e for e in smoothed_events() if not isinstance(e, Stepped)]
    play(results, events[:1])
    for n, event in enumerate(events[1:-1], start=2):
        add_sampled(results, [event])
        catch_up(results)
        if "diffseg 1 | probability" in viewer.layers:
            shown = source(viewer.layers["diffseg 1 | probability"])
            np.testing.assert_array_equal(shown, whole(events[:n]).probability()[0])


def test_the_slice_on_the_screen_does_not_wait(viewer, results):
    events = smoothed_events()
    play(results, events[:1])
    sampled = [e for e in events if isinstance(e, Sampled)]
    add_sampled(results, sampled)
    here = results._present._slice_on_screen()
    assert results.is_behind
    shown = results._present._probability[0].array[..., here]
    np.testing.assert_array_equal(shown, whole(events).probability_slice(here)[0][0])


def test_smoothing_can_be_taken_away_and_comes_back(viewer, results):
    events = smoothed_events()
    play(results, events)
    results.summarise(Summary(smoothing_mm=0.0))
    catch_up(results)
    plain = whole(events_of(members=3))
    assert_shown(viewer, plain)
    results.summarise(Summary())
    catch_up(results)
    assert_shown(viewer, whole(events))


def test_the_pointer_says_votes_and_the_probability(results):
    play(results, smoothed_events())
    view = results.view
    voxel = (3, 3, results._present._slice_on_screen())
    [p] = view.probabilities_at(voxel)
    assert p == view.ensemble.probability()[0][voxel]
    (votes,), count = view.votes_at(voxel)
    said = describe_point(view, view.point_of(voxel))
    assert said == describe_votes(votes, count, view.summary, probability=p)
    assert f"votes {votes}/3; probability {p:.2f}; variance " in said


def test_a_run_without_smoothing_has_no_probability_until_it_is_asked_for(viewer, results):
    events = events_of(members=2)
    play(results, events)
    assert "diffseg 1 | probability" not in viewer.layers
    assert results.view.summary.rule is Rule.MAJORITY
    results.summarise(Summary(Rule.PROBABILITY, smoothing_mm=2.0))
    catch_up(results)
    assert not viewer.layers["diffseg 1 | probability"].visible
    assert_shown(viewer, results.result.ensemble)


def test_an_estimate_that_comes_after_members_of_a_slice_changes_what_is_shown_of_them(viewer, results):
    started, *others = smoothed_events()
    sampled = [event for event in others if isinstance(event, Sampled)]
    begin_run(results, started)
    add_sampled(results, sampled[:1])
    catch_up(results)
    p = np.full((1, len(started.sampled), *sampled[0].mask.shape[2:]), 0.9, np.float32)
    estimate = Expected(started.run_id, started.sampled, p)
    add_expected(results, estimate)
    catch_up(results)
    assert_shown(viewer, whole([started, sampled[0], estimate]))


def test_an_estimate_that_is_refined_after_members_of_a_slice_changes_what_is_shown_of_them(viewer, results):
    started, *others = smoothed_events()
    started = replace(started, refined_by="flair")
    sampled = [event for event in others if isinstance(event, Sampled)]
    started = replace(started, refined_by="flair")
    begin_run(results, started)
    p = np.full((1, len(started.sampled), *sampled[0].mask.shape[2:]), 0.9, np.float32)
    told = [Expected(started.run_id, started.sampled, p), Refined(started.run_id, started.sampled, p / 3)]
    add_expected(results, told[0])
    add_sampled(results, sampled[:1])
    catch_up(results)
    before = whole([started, told[0], sampled[0]])
    assert_shown(viewer, before)
    add_expected(results, told[1])
    catch_up(results)
    after = whole([started, *told, sampled[0]])
    assert_shown(viewer, after)
    assert not np.array_equal(before.probability(), after.probability())


def test_the_refinement_can_be_taken_away_and_comes_back(viewer, results):
    started, *others = smoothed_events()
    started = replace(started, refined_by="flair")
    p = np.full((1, len(started.sampled), *others[-2].mask.shape[2:]), 0.9, np.float32)
    told = [Expected(started.run_id, started.sampled, p), Refined(started.run_id, started.sampled, p / 3)]
    play(results, [started])
    for event in told:
        add_expected(results, event)
    sampled = [e for e in others if isinstance(e, Sampled)]
    add_sampled(results, sampled)
    catch_up(results)
    refined, plain = whole([started, *told, *sampled]), whole([started, told[0], *sampled])
    assert_shown(viewer, refined)
    results.summarise(Summary(refined=False))
    catch_up(results)
    assert_shown(viewer, plain)
    assert not np.array_equal(refined.probability(), plain.probability())
    results.summarise(Summary())
    catch_up(results)
    assert_shown(viewer, refined)
