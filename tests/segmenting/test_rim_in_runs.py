"""A run whose network is not shown the rim of the brain: masks, expectation, trace and what-if all reach into it."""

from dataclasses import replace

import numpy as np
import pytest

from napari_diffseg.encode import encode
from napari_diffseg.events import Expected, Sampled, SegmentRequest, Stepped
from napari_diffseg.segmenting.segmenter import LocalSegmenter
from napari_diffseg.segmenting.what_if import Change

REQUEST = SegmentRequest(members=2, timesteps=2, device="cpu", slices="1:3")


@pytest.fixture
def checkpoint(tiny_checkpoint):
    return replace(tiny_checkpoint, recipe=tiny_checkpoint.recipe.model_copy(update={"rim_mm": 1.0, "may_miss": True}))


def carried_on(planes, rim, slices):
    """Whether planes (S, U, V) are already as at the nearest voxel that was shown, on all of the rim."""
    again = rim.carry_on(np.array(planes, np.float32), slices)
    return np.array_equal(again, np.asarray(planes, np.float32))


def test_all_that_a_run_says_is_carried_on_into_the_rim(checkpoint, tiny_case):
    rim = encode(tiny_case, checkpoint.recipe).rim
    assert (rim.brain & ~rim.shown)[..., 1:3].any()
    segmenter = LocalSegmenter(checkpoint, preview_interval_s=0)
    for event in segmenter.segment(tiny_case, REQUEST):
        match event:
            case Sampled():
                assert event.mask.any()
                assert carried_on(event.mask[0], rim, event.slices)
            case Expected():
                assert carried_on(event.probability[0], rim, event.slices)
            case Stepped(preview=preview) if preview is not None:
                assert carried_on(preview.mask[None], rim, [preview.slice_index])
    for traced in segmenter.trace(tiny_case, REQUEST):
        slices = [s for _, s in traced.rows]
        assert carried_on(traced.mask, rim, slices)
        assert carried_on(traced.evidence, rim, slices)


def test_an_image_in_anothers_place_has_its_rim_left_out_too(checkpoint, tiny_case):
    segmenter = LocalSegmenter(checkpoint, preview_interval_s=None)
    same = Change("t2", tiny_case.volumes["t2"])
    as_it_is = [e.mask for e in segmenter.segment(tiny_case, REQUEST) if isinstance(e, Sampled)]
    changed = [e.mask for e in segmenter.what_if(tiny_case, REQUEST, same) if isinstance(e, Sampled)]
    np.testing.assert_array_equal(as_it_is, changed)
