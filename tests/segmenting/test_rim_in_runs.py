"""A run whose network is not shown the rim of the brain: all that it says reaches into it, and no further."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from nibabel.affines import from_matvec
from nibabel.eulerangles import euler2mat
from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, ornt_transform
from scipy import ndimage

from napari_diffseg.encode import encode
from napari_diffseg.ensemble.ensemble import Ensemble
from napari_diffseg.events import Expected, Sampled, SegmentRequest, Stepped
from napari_diffseg.networks.fast_unet import FastUNet
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


def case_of(brain, like, affine=None):
    """A case with noise in a brain of this shape, and 0 elsewhere."""
    data = np.where(brain, np.random.default_rng(1).integers(50, 500, brain.shape), 0).astype(np.int16)
    place = like.affine if affine is None else affine
    volumes = {m: replace(v, data=data, affine=place, path=None) for m, v in like.volumes.items()}
    return replace(like, volumes=volumes, reference=None)


def filled(brain, axis):
    """A brain with the holes in slices along an axis filled."""
    return np.stack([ndimage.binary_fill_holes(plane) for plane in np.moveaxis(brain, axis, 0)], axis=axis)


def marked_everywhere(checkpoint, case, monkeypatch, **request):
    """Events of a run in two planes whose network sees lesion everywhere."""
    monkeypatch.setattr(FastUNet, "conditioned_on", lambda *_: lambda x_t, _: torch.ones_like(x_t))
    settings = {"device": "cpu", "members": 2, "second_plane": "on", "timesteps": 2} | request
    return list(LocalSegmenter(checkpoint, preview_interval_s=0).segment(case, SegmentRequest(**settings)))


@pytest.mark.parametrize("window", [None, "3:12,2:11"])
@pytest.mark.parametrize("spacing_mm", [None, 2.1])
@pytest.mark.parametrize("axes", ["LPS", "PSR", "IRP", "LSA"])
def test_nothing_is_marked_where_there_is_no_brain(checkpoint, tiny_case, monkeypatch, axes, spacing_mm, window):
    rng = np.random.default_rng(3 if window is None else 4)
    blobs = ndimage.gaussian_filter(rng.standard_normal((15, 16, 14)), 2.5, mode="constant")
    brain = (blobs > 0.02) & (rng.random(blobs.shape) > 0.02)
    turn = ornt_transform(axcodes2ornt("LPS"), axcodes2ornt(axes))
    affine = from_matvec(euler2mat(0.2, 0.1, 0.0)) @ tiny_case.affine @ inv_ornt_aff(turn, brain.shape)
    case = case_of(apply_orientation(brain, turn) > 0, tiny_case, affine)
    recipe = checkpoint.recipe.model_copy(
        update={"second_plane": ("I", "L", "A"), "mirror": True, "spacing_mm": spacing_mm}
    )
    seen = marked_everywhere(replace(checkpoint, recipe=recipe), case, monkeypatch, window=window)
    started = seen[0]
    inside = filled(case.grid_volume.data != 0, started.slice_axis)
    ensemble = Ensemble.from_events(seen)
    for member in (0, 1):
        mask = ensemble.member(member)[0]
        assert mask.any()
        assert not (mask & ~inside).any()
    (expected,) = [e for e in seen if isinstance(e, Expected)]
    planes = np.moveaxis(inside, started.slice_axis, 0)[list(expected.slices)]
    assert (expected.probability[0] > 0).any()
    assert not (expected.probability[0] > 0)[~planes].any()
    for preview in (e.preview for e in seen if isinstance(e, Stepped) and e.preview):
        assert not preview.mask[~np.moveaxis(inside, started.slice_axis, 0)[preview.slice_index]].any()


def test_fluid_of_intensity_0_is_no_hole_in_members_of_either_plane(checkpoint, tiny_case, monkeypatch):
    brain = np.zeros((15, 16, 14), np.bool_)
    brain[1:14, 1:15, 1:13] = True
    brain[6:9, 6:9, 4:] = False  # surrounded by brain in axial slices, open to one side in coronal ones
    recipe = checkpoint.recipe.model_copy(update={"second_plane": ("I", "L", "A"), "mirror": True})
    seen = marked_everywhere(replace(checkpoint, recipe=recipe), case_of(brain, tiny_case), monkeypatch)
    ensemble = Ensemble.from_events(seen)
    for member in (0, 1):
        assert ensemble.member(member)[0, 6:9, 6:9, 4:13].all()
    (expected,) = [e for e in seen if isinstance(e, Expected)]
    assert (expected.probability[0, :, 6:9, 6:9] == 1).all()


def test_a_checkpoint_that_is_shown_all_marks_what_its_network_does(checkpoint, tiny_case, monkeypatch):
    brain = np.zeros((14, 12, 5), np.bool_)
    brain[2:-2, 2:-2, :-1] = True
    shown_all = replace(checkpoint, recipe=checkpoint.recipe.model_copy(update={"rim_mm": 0.0}))
    seen = marked_everywhere(shown_all, case_of(brain, tiny_case), monkeypatch, second_plane="off")
    assert Ensemble.from_events(seen).member(0)[..., :-1].all()
