"""Runs whose one-step estimate is refined by the brightness of an image."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from builders import tiny_recipe
from napari_diffseg.encode import encode
from napari_diffseg.ensemble.ensemble import Ensemble
from napari_diffseg.ensemble.refinement import refine_by_brightness, refine_slices
from napari_diffseg.errors import BadRecipe
from napari_diffseg.events import Expected, Refined, Sampled, SegmentRequest
from napari_diffseg.recipe import make_recipe
from napari_diffseg.segmenting import refining as refining_module
from napari_diffseg.segmenting.segmenter import LocalSegmenter
from napari_diffseg.segmenting.what_if import Change

REFINES = {"refine_by": "flair", "smoothing_mm": 1.0, "rule": "probability"}


def with_recipe(checkpoint, **changes):
    return replace(checkpoint, recipe=checkpoint.recipe.model_copy(update=REFINES | changes))


def run(checkpoint, case, **settings):
    request = SegmentRequest(**{"device": "cpu", "members": 2} | settings)
    return list(LocalSegmenter(checkpoint, preview_interval_s=None).segment(case, request))


def refined_of(seen):
    (event,) = [e for e in seen if isinstance(e, Refined)]
    return event


def on_source(events, case):
    """Probabilities (X, Y, Z) of events."""
    volume = np.zeros(case.shape, np.float32)
    for event in events:
        volume[..., list(event.slices)] = np.moveaxis(event.probability[0], 0, 2)
    return volume


def test_it_comes_once_after_all_of_the_estimate_and_before_a_member_is_whole(refining, tiny_case):
    seen = run(refining, tiny_case, batch_size=3)
    kinds = [type(e) for e in seen]
    assert seen[0].refined_by == "flair"
    at = kinds.index(Refined)
    assert kinds.count(Refined) == 1
    assert Expected not in kinds[at:]
    ensemble = Ensemble.for_run(seen[0])
    for event in seen[:at]:
        if isinstance(event, Expected | Sampled):
            ensemble.take(event)
    assert not ensemble.members
    assert refined_of(seen).slices == seen[0].sampled


def test_it_is_the_estimate_refined_by_the_cases_own_image(refining, tiny_case):
    seen = run(refining, tiny_case)
    estimate = on_source([e for e in seen if isinstance(e, Expected)], tiny_case)
    brain = encode(tiny_case, refining.recipe).brain
    wanted = refine_by_brightness(
        estimate, tiny_case.volumes["flair"].data, brain, spacing_mm=tiny_case.grid_volume.spacing_mm
    )
    np.testing.assert_array_equal(on_source([refined_of(seen)], tiny_case), wanted)
    assert np.abs(wanted - estimate).max() > 1e-3


@pytest.mark.parametrize("settings", [{"batch_size": 1}, {"batch_size": 7}, {"focus": 2}, {"members": 1}])
def test_it_is_the_same_in_any_batch_and_order(refining, tiny_case, settings):
    reference = on_source([refined_of(run(refining, tiny_case))], tiny_case)
    other = on_source([refined_of(run(refining, tiny_case, **settings))], tiny_case)
    np.testing.assert_allclose(other, reference, atol=1e-4)


def test_in_two_planes_it_is_of_both(two_planes, tiny_case):
    seen = run(with_recipe(two_planes), tiny_case, second_plane="on")
    estimate = on_source([e for e in seen if isinstance(e, Expected)], tiny_case)
    brain = encode(tiny_case, two_planes.recipe).brain
    flair = tiny_case.volumes["flair"].data
    wanted = refine_by_brightness(estimate, flair, brain, spacing_mm=(1, 1, 1))
    np.testing.assert_array_equal(on_source([refined_of(seen)], tiny_case), wanted)


def test_members_are_the_same_and_the_probability_is_another(refining, tiny_checkpoint, tiny_case):
    ways = refining, with_recipe(tiny_checkpoint, refine_by=None)
    with_it, without = (Ensemble.from_events(run(way, tiny_case)) for way in ways)
    for k in (0, 1):
        np.testing.assert_array_equal(with_it.member(k), without.member(k))
    np.testing.assert_array_equal(with_it.mean(), without.mean())
    np.testing.assert_array_equal(with_it.expected.probability(), without.expected.probability())
    assert np.abs(with_it.probability() - without.probability()).max() > 1e-3
    assert without.expected.refined() is None


def test_without_the_image_nothing_is_refined(refining, tiny_case):
    volumes = {m: v for m, v in tiny_case.volumes.items() if m != "flair"}
    seen = run(refining, replace(tiny_case, volumes=volumes))
    assert seen[0].refined_by == ""
    assert not [e for e in seen if isinstance(e, Refined)]
    assert Ensemble.from_events(seen).expected.is_final


def test_a_window_is_refined_by_what_is_in_it(refining, tiny_case):
    refined = on_source([refined_of(run(refining, tiny_case, window="4:9,5:9", slices="1:3"))], tiny_case)
    assert refined[4:9, 5:9, 1:3].any()
    refined[4:9, 5:9, 1:3] = 0
    assert not refined.any()


def test_what_if_refines_by_the_image_that_took_its_place(refining, tiny_case):
    segmenter, request = LocalSegmenter(refining, preview_interval_s=None), SegmentRequest(device="cpu", members=1)
    other = Change("flair", tiny_case.volumes["t2"])
    (changed,) = [e for e in segmenter.what_if(tiny_case, request, other) if isinstance(e, Refined)]
    assert (changed.probability != refined_of(run(refining, tiny_case, members=1)).probability).any()
    left_out = segmenter.what_if(tiny_case, request, Change("flair"))
    assert not [e for e in left_out if isinstance(e, Refined)]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"refine_by": "adc"}, "none of the modalities"),
        ({"labels": ("lesion", "core")}, "for one mask channel"),
        ({"prediction": "epsilon"}, "needs a one-step estimate"),
    ],
)
def test_a_recipe_says_only_what_can_be(changes, why):
    with pytest.raises(BadRecipe, match=why):
        make_recipe(tiny_recipe().model_dump() | {"refine_by": "flair"} | changes)


def test_where_memory_runs_out_it_is_refined_in_the_next_attempt(refining, tiny_case, monkeypatch):
    wanted = on_source([refined_of(run(refining, tiny_case))], tiny_case)
    failing = iter([True])

    def refine_or_fail(*args, **settings):
        if next(failing, False):
            raise MemoryError
        return refine_slices(*args, **settings)

    monkeypatch.setattr(refining_module, "refine_slices", refine_or_fail)
    seen = run(refining, tiny_case)
    np.testing.assert_allclose(on_source([refined_of(seen)], tiny_case), wanted, atol=1e-4)
    assert Ensemble.from_events(seen).expected.is_final
