"""Members that see the image mirrored: the mask comes back on the right side, and no other member changes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_diffseg.encode import encode
from napari_diffseg.errors import BadRecipe
from napari_diffseg.events import Sampled, SegmentRequest, Stepped
from napari_diffseg.recipe import make_recipe
from napari_diffseg.segmenting.flip_augmentation import Mirroring
from napari_diffseg.segmenting.segmenter import LocalSegmenter


def masks_of(checkpoint, case, **settings):
    """What each member sampled, by member and slice."""
    request = SegmentRequest(device="cpu", **{"members": 4, "precision": "fp32", "seed": 3, **settings})
    found = {}
    for event in LocalSegmenter(checkpoint, preview_interval_s=None).segment(case, request):
        if isinstance(event, Sampled):
            found |= {(event.member, s): event.mask[:, i] for i, s in enumerate(event.slices)}
    return found


@pytest.fixture
def mirrored(tiny_checkpoint):
    return replace(tiny_checkpoint, recipe=tiny_checkpoint.recipe.model_copy(update={"mirror": True}))


def test_odd_members_alone_are_others_and_the_same_in_any_batch(tiny_checkpoint, mirrored, tiny_case):
    plain, seen = masks_of(tiny_checkpoint, tiny_case), masks_of(mirrored, tiny_case, batch_size=3)
    assert plain.keys() == seen.keys()
    for (member, s), mask in plain.items():
        if member % 2 == 0:
            np.testing.assert_array_equal(seen[member, s], mask)
    assert any((seen[key] != mask).any() for key, mask in plain.items() if key[0] % 2)
    one = masks_of(mirrored, tiny_case, batch_size=1)
    assert all((one[key] == mask).all() for key, mask in seen.items())


def test_an_odd_member_is_that_of_a_patient_whose_sides_are_swapped(tiny_checkpoint, mirrored, tiny_case):
    grid = encode(tiny_case, tiny_checkpoint.recipe).grid
    side = (grid.row_axis, grid.column_axis)[tiny_checkpoint.recipe.sideways]
    across = [axis for axis in range(3) if axis != grid.slice_axis].index(side)
    swapped = {m: replace(v, data=np.flip(v.data, side)) for m, v in tiny_case.volumes.items()}
    seen = masks_of(mirrored, tiny_case, members=1, first_member=1)
    other = masks_of(tiny_checkpoint, replace(tiny_case, volumes=swapped), members=1, first_member=1)
    assert any(mask.any() for mask in seen.values())
    for key, mask in seen.items():
        np.testing.assert_array_equal(mask, np.flip(other[key], across + 1))


@pytest.mark.parametrize(("codes", "axis"), [(("P", "L", "S"), 1), (("R", "A", "S"), 0), (("S", "L", "A"), 1)])
def test_left_and_right_are_swapped_whatever_axis_they_run_along(codes, axis):
    recipe = make_recipe({"modalities": ["t1"], "axis_codes": codes, "mirror": True})
    batch = torch.arange(3 * 2 * 4 * 5, dtype=torch.float32).reshape(3, 2, 4, 5)
    mirroring = Mirroring.of_members(recipe, [0, 1, 3], torch.device("cpu"))
    swapped = mirroring(batch)
    torch.testing.assert_close(swapped[0], batch[0])
    torch.testing.assert_close(swapped[1:], batch[1:].flip(axis + 2 - 4))
    torch.testing.assert_close(mirroring(swapped), batch)


def test_the_noise_is_mirrored_with_the_image_so_steps_are_told_the_right_way_round(mirrored, tiny_case):
    events = list(
        LocalSegmenter(mirrored, preview_interval_s=0).segment(
            tiny_case, SegmentRequest(device="cpu", members=1, first_member=1, precision="fp32", batch_size=1)
        )
    )
    last = {}
    for event in events:
        if isinstance(event, Stepped) and event.preview is not None and event.step == event.steps - 1:
            last[event.preview.slice_index] = event.preview.mask > 0.5
        if isinstance(event, Sampled):
            for i, s in enumerate(event.slices):
                np.testing.assert_array_equal(event.mask[0, i], last[s])
    assert last


def test_a_trace_ends_in_the_masks_of_the_run(mirrored, tiny_case):
    seen = masks_of(mirrored, tiny_case, members=2)
    segmenter = LocalSegmenter(mirrored, preview_interval_s=None)
    request = SegmentRequest(device="cpu", members=2, precision="fp32", seed=3)
    traced = {}
    for told in segmenter.trace(tiny_case, request):
        if told.step == told.steps:
            traced |= {row: told.mask[i] for i, row in enumerate(told.rows)}
    assert traced.keys() == seen.keys()
    for row, mask in traced.items():
        np.testing.assert_array_equal(mask, seen[row][0])


def test_members_that_are_added_later_are_those_of_one_run(mirrored, tiny_case):
    whole = masks_of(mirrored, tiny_case, members=4)
    later = masks_of(mirrored, tiny_case, members=3, first_member=1)
    for key, mask in later.items():
        np.testing.assert_array_equal(mask, whole[key])


def test_without_left_and_right_in_a_slice_it_is_refused():
    with pytest.raises(BadRecipe, match="mirror needs left and right within a slice"):
        make_recipe({"modalities": ["t1"], "axis_codes": ("P", "S", "L"), "mirror": True})
