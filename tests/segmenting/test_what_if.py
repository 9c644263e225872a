"""A changed image with the noise and the pixels of the case as it is."""

from dataclasses import replace

import numpy as np
import pytest

from builders import write_tiny_checkpoint
from napari_diffseg.checkpoint import load_checkpoint
from napari_diffseg.encode import encode
from napari_diffseg.errors import BadRequest, GridMismatch
from napari_diffseg.events import Sampled, SegmentRequest
from napari_diffseg.segmenting.segmenter import LocalSegmenter
from napari_diffseg.segmenting.what_if import Change, change_channel, compare

REQUEST = SegmentRequest(device="cpu", members=3, slices="1:3")


@pytest.fixture(scope="module")
def tolerant(tmp_path_factory):
    """A checkpoint that can do without an image."""
    folder = tmp_path_factory.mktemp("tolerant")
    return load_checkpoint(write_tiny_checkpoint(folder / "tiny.safetensors", may_miss=True, centre="brain"))


def masks(events):
    return {(e.member, s): e.mask[0, i] for e in events if isinstance(e, Sampled) for i, s in enumerate(e.slices)}


def test_an_image_in_its_own_place_changes_nothing(tiny_checkpoint, tiny_case):
    segmenter = LocalSegmenter(tiny_checkpoint, preview_interval_s=None)
    run = masks(segmenter.segment(tiny_case, REQUEST))
    same = masks(segmenter.what_if(tiny_case, REQUEST, Change("flair", tiny_case.volumes["flair"])))
    assert run.keys() == same.keys()
    for key, mask in run.items():
        np.testing.assert_array_equal(mask, same[key])


def test_another_image_gives_what_a_case_with_that_image_gives(tiny_checkpoint, tiny_case):
    segmenter = LocalSegmenter(tiny_checkpoint, preview_interval_s=None)
    swapped = replace(tiny_case, volumes={**tiny_case.volumes, "flair": tiny_case.volumes["t2"]})
    expected = masks(segmenter.segment(swapped, REQUEST))
    found = masks(segmenter.what_if(tiny_case, REQUEST, Change("flair", tiny_case.volumes["t2"])))
    for key, mask in expected.items():
        np.testing.assert_array_equal(mask, found[key])
    run = masks(segmenter.segment(tiny_case, REQUEST))
    assert any((run[key] != found[key]).any() for key in run)


def test_an_image_that_is_left_out_is_zero_and_the_crop_stays_that_of_the_whole_case(tolerant, tiny_case):
    recipe = tolerant.recipe
    before = encode(tiny_case, recipe)
    after = change_channel(before, tiny_case, recipe, Change("t1ce"))
    assert not after.image[:, 1].any()
    for n in (0, 2, 3):
        np.testing.assert_array_equal(after.image[:, n], before.image[:, n])
    assert before.image[:, 1].any()
    assert after.grid is before.grid


def test_a_checkpoint_that_promises_nothing_is_not_asked_to_do_without(tiny_checkpoint, tiny_case):
    with pytest.raises(BadRequest, match="does not promise that it can do without"):
        list(LocalSegmenter(tiny_checkpoint).what_if(tiny_case, REQUEST, Change("flair")))
    with pytest.raises(BadRequest, match="there is no pet to change"):
        list(LocalSegmenter(tiny_checkpoint).what_if(tiny_case, REQUEST, Change("pet")))


def test_the_last_image_of_a_case_is_not_left_out(tolerant, tiny_case):
    alone = replace(tiny_case, volumes={"flair": tiny_case.volumes["flair"]})
    with pytest.raises(BadRequest, match="flair is the only image"):
        list(LocalSegmenter(tolerant).what_if(alone, REQUEST, Change("flair")))


def test_an_image_on_another_grid_is_refused(tiny_checkpoint, tiny_case):
    t2 = tiny_case.volumes["t2"]
    moved = replace(t2, affine=t2.affine @ np.diag([1.5, 1.0, 1.0, 1.0]))
    with pytest.raises(GridMismatch, match="must share its grid"):
        list(LocalSegmenter(tiny_checkpoint).what_if(tiny_case, REQUEST, Change("flair", moved)))


def test_a_comparison_counts_members_and_what_the_majority_loses_and_gains_by_hand():
    run = np.array([[[1, 1, 0, 0]], [[1, 1, 0, 1]], [[1, 0, 0, 1]]], np.bool_)
    changed = np.array([[[1, 0, 1, 0]], [[1, 0, 1, 0]], [[1, 0, 0, 1]]], np.bool_)
    found = compare(run, changed)
    np.testing.assert_allclose(found.difference, [[0, 2 / 3, -2 / 3, 1 / 3]], atol=1e-6)
    assert (found.left, found.joined) == (2, 1)
