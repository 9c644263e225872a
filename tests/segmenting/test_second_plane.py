"""Members that are sampled in slices of a second plane."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from nibabel.affines import from_matvec
from nibabel.eulerangles import euler2mat
from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, io_orientation, ornt_transform

from builders import tiny_recipe
from napari_diffseg.encode import encode, encode_across
from napari_diffseg.ensemble.ensemble import Ensemble
from napari_diffseg.errors import BadRecipe
from napari_diffseg.events import Expected, Finished, Sampled, SegmentRequest, Started, Stepped
from napari_diffseg.networks.fast_unet import FastUNet
from napari_diffseg.recipe import make_recipe
from napari_diffseg.segmenting.rows import Row, look_elsewhere, order_rows
from napari_diffseg.segmenting.second_plane import MembersAcross, SecondPlane
from napari_diffseg.segmenting.segmenter import LocalSegmenter


def events(checkpoint, case, *, preview=None, **request):
    settings = {"device": "cpu", "members": 4, "second_plane": "on"} | request
    return list(LocalSegmenter(checkpoint, preview_interval_s=preview).segment(case, SegmentRequest(**settings)))


def members(checkpoint, case, **request):
    """Masks (X, Y, Z) by member."""
    found = {}
    for event in events(checkpoint, case, **request):
        if isinstance(event, Sampled):
            mask = found.setdefault(event.member, np.zeros(case.shape, bool))
            mask[..., list(event.slices)] = np.moveaxis(event.mask[0], 0, 2)
    return found


def test_every_second_member_is_what_the_second_plane_alone_gives(two_planes, tiny_case):
    both = members(two_planes, tiny_case)
    first = members(two_planes, tiny_case, second_plane="off")
    alone = replace(two_planes, recipe=two_planes.recipe.across)
    across = {}
    for event in events(alone, tiny_case, second_plane="off"):
        if isinstance(event, Sampled):
            mask = across.setdefault(event.member, np.zeros(tiny_case.shape, bool))
            mask[:, list(event.slices)] = np.moveaxis(event.mask[0], 0, 1)
    sampled = events(two_planes, tiny_case)[0].sampled
    for k in (0, 2):
        np.testing.assert_array_equal(both[k], first[k])
    for k in (1, 3):
        np.testing.assert_array_equal(both[k][..., sampled], across[k][..., sampled])
        assert (both[k] != first[k]).any()
        assert not both[k][..., [s for s in range(tiny_case.shape[2]) if s not in sampled]].any()


@pytest.mark.parametrize("settings", [{"batch_size": 1}, {"batch_size": 7}, {"focus": 2}, {"members": 2}])
def test_members_are_the_same_in_any_batch_and_order(two_planes, tiny_case, settings):
    reference = members(two_planes, tiny_case)
    for k, mask in members(two_planes, tiny_case, **settings).items():
        np.testing.assert_array_equal(mask, reference[k])


def test_a_member_alone_is_the_same_and_comes_as_a_whole(two_planes, tiny_case):
    reference = members(two_planes, tiny_case)
    seen = events(two_planes, tiny_case, first_member=3, members=1)
    assert seen[0].members_across == (3,)
    assert not [e for e in seen if isinstance(e, Expected)]
    assert len([e for e in seen if isinstance(e, Sampled)]) == 1
    np.testing.assert_array_equal(members(two_planes, tiny_case, first_member=3, members=1)[3], reference[3])


def test_members_end_in_their_order_and_progress_comes_to_its_end(two_planes, tiny_case):
    seen = events(two_planes, tiny_case, preview=0)
    started = next(e for e in seen if isinstance(e, Started))
    assert started.members_across == (1, 3)
    assert [*dict.fromkeys(e.member for e in seen if isinstance(e, Sampled))] == [0, 1, 2, 3]
    done = [e.done for e in seen if isinstance(e, Stepped)]
    assert done[-1] == started.evaluations
    slices = len(started.sampled) + len(started.slices_across)
    assert [e.estimated for e in seen if isinstance(e, Stepped) and e.estimated is not None][-1] == slices
    assert {e.preview.member for e in seen if isinstance(e, Stepped) and e.preview} == {0, 2}
    assert sorted(s for e in seen if isinstance(e, Expected) for s in e.slices) == [*started.sampled]
    assert isinstance(seen[-1], Finished)


def test_some_slices_have_the_masks_of_all_where_it_is_asked_for_and_else_the_first_planes(two_planes, tiny_case):
    whole = members(two_planes, tiny_case, second_plane="auto")
    on = members(two_planes, tiny_case, slices="1:3")
    for k, mask in on.items():
        np.testing.assert_array_equal(mask[..., 1:3], whole[k][..., 1:3])
        assert not mask[..., 3:].any()
    assert events(two_planes, tiny_case, slices="1:3", second_plane="auto")[0].members_across == ()
    assert events(two_planes, tiny_case, second_plane="auto")[0].members_across == (1, 3)
    assert events(two_planes, tiny_case, members=1)[0].members_across == ()


def test_slices_that_are_thick_are_not_looked_at_from_the_side(two_planes, tiny_case):
    affine = tiny_case.affine @ np.diag([1, 1, 5, 1])
    volumes = {m: replace(v, affine=affine) for m, v in tiny_case.volumes.items()}
    thick = replace(tiny_case, volumes=volumes, reference=None)
    assert events(two_planes, thick, second_plane="auto")[0].members_across == ()
    assert events(two_planes, thick, second_plane="on")[0].members_across == (1, 3)


@pytest.mark.parametrize(
    ("slices", "thickness_mm", "has"), [(1, 1.0, False), (9, 1.0, False), (155, 1.0, True), (62, 2.5 + 1e-7, True)]
)
def test_a_slab_is_not_looked_at_from_the_side(slices, thickness_mm, has):
    codes = {"axis_codes": ("P", "L", "S"), "second_plane": ("I", "L", "A")}
    recipe = tiny_recipe(size=(112, 96), spacing_mm=2.0, **codes)
    asked = {"recipe": recipe, "slices": slices, "thickness_mm": thickness_mm}
    assert SegmentRequest().samples_second_plane(**asked) is has
    assert SegmentRequest(second_plane="on").samples_second_plane(**asked)
    assert not SegmentRequest(second_plane="off").samples_second_plane(**asked)


def test_a_volume_of_one_slice_has_all_its_members_in_that_slice(two_planes, tiny_case):
    volumes = {m: replace(v, data=v.data[:, :, 2:3], path=None) for m, v in tiny_case.volumes.items()}
    one = replace(tiny_case, volumes=volumes, reference=None)
    first = events(two_planes, one, second_plane="auto")[0]
    assert (first.sampled, first.members_across) == ((0,), ())


def test_the_window_bounds_members_of_both_planes(two_planes, tiny_case):
    for mask in members(two_planes, tiny_case, window="4:9,5:12").values():
        assert not mask[:4].any()
        assert not mask[9:].any()
        assert not mask[:, :5].any()
        assert not mask[:, 12:].any()


def test_a_trace_tells_of_the_members_of_its_plane(two_planes, tiny_case):
    request = SegmentRequest(device="cpu", members=4, second_plane="on", slices="1:3")
    traced = list(LocalSegmenter(two_planes).trace(tiny_case, request))
    assert {row for t in traced for row in t.rows} == {(k, s) for k in (0, 2) for s in (1, 2)}


def test_rows_are_member_by_member_and_the_focus_comes_first():
    rows = order_rows(range(3), [4, 5, 6], focus=5, across=[0, 2])
    first = [Row(0, 5), Row(2, 5)]
    rest = [Row(1, 0, across=True), Row(1, 2, across=True)]
    assert rows == (*first, Row(0, 4), Row(0, 6), *rest, Row(2, 4), Row(2, 6))
    assert look_elsewhere(rows[2:], 6) == (Row(0, 6), Row(2, 6), Row(0, 4), *rest, Row(2, 4))


def test_between_slices_a_member_is_interpolated(two_planes, tiny_case):
    run = encode(tiny_case, two_planes.recipe)
    across = replace(encode(tiny_case, two_planes.recipe.across), sampled=(2, 5))
    whole = MembersAcross(SecondPlane(across, run), 1)
    u, _, v = tiny_case.shape
    assert whole.add(0, [5], np.full((1, 1, u, v), 0.9, np.float32)) is None
    values = whole.add(0, [2], np.zeros((1, 1, u, v), np.float32))
    assert values.shape == (1, len(run.sampled), *tiny_case.shape[:2])
    np.testing.assert_allclose(values[0, 0, 0, :8], [0, 0, 0, 0.3, 0.6, 0.9, 0, 0], atol=1e-6)


@pytest.mark.parametrize("axes", ["LPS", "PSR", "IRP", "LSA"])
def test_what_a_network_marks_is_on_the_same_voxels_from_both_planes(two_planes, tiny_case, monkeypatch, axes):
    def as_it_sees(_network, image):
        return lambda x_t, timestep: 2 * image[:, : x_t.shape[1]] - 1

    monkeypatch.setattr(FastUNet, "conditioned_on", as_it_sees)
    turn = ornt_transform(io_orientation(tiny_case.affine), axcodes2ornt(axes))
    affine = tiny_case.affine @ inv_ornt_aff(turn, tiny_case.shape)
    tilted = from_matvec(euler2mat(0.2, 0.1, 0.0)) @ affine
    turned = {
        m: replace(v, data=apply_orientation(v.data, turn), affine=tilted, path=None)
        for m, v in tiny_case.volumes.items()
    }
    case = replace(tiny_case, volumes=turned, reference=None)
    ensemble = Ensemble.from_events(events(two_planes, case, members=2))
    own, across = ensemble.member(0), ensemble.member(1)
    assert own.any()
    np.testing.assert_array_equal(own, across)


def test_where_there_is_no_brain_between_two_slices_nothing_is_interpolated(two_planes, tiny_case):
    empty = {m: v.data.copy() for m, v in tiny_case.volumes.items()}
    for data in empty.values():
        data[:, 4:8] = 0
    volumes = {m: replace(v, data=empty[m], path=None) for m, v in tiny_case.volumes.items()}
    case = replace(tiny_case, volumes=volumes, reference=None)
    run = encode(case, two_planes.recipe)
    across = encode_across(run, case, two_planes.recipe.across)
    assert across.sampled == (2, 3, 8, 9)
    planes = np.ones((1, 4, tiny_case.shape[0], tiny_case.shape[2]), np.float32)
    values = SecondPlane(across, run).brought_over(planes)
    np.testing.assert_array_equal(values[0, 0, 0], [0, 0, 1, 1, 0, 0, 0, 0, 1, 1, 0, 0])


@pytest.mark.parametrize("settings", [{"batch_size": 1}, {"focus": 2}, {"members": 2, "batch_size": 7}])
def test_the_one_step_estimate_is_the_mean_of_both_planes_and_comes_first(two_planes, tiny_case, settings):
    seen = events(two_planes, tiny_case, **settings)
    (estimate,) = [e for e in seen if isinstance(e, Expected)]
    own = expected(replace(two_planes, recipe=two_planes.recipe.model_copy(update={"mirror": False})), tiny_case, 2)
    side = expected(replace(two_planes, recipe=two_planes.recipe.across), tiny_case, 1, first_member=1)
    np.testing.assert_allclose(
        np.moveaxis(estimate.probability[0], 0, 2), ((own + side) / 2)[..., list(estimate.slices)], atol=1e-5
    )
    kinds = [type(e) for e in seen]
    assert Sampled not in kinds[: kinds.index(Expected)]


def test_somebody_who_looks_at_a_slice_sees_its_masks_before_the_estimate_of_both_planes(two_planes, tiny_case):
    seen = events(two_planes, tiny_case, preview=0, focus=2, batch_size=2)
    kinds = [type(e) for e in seen]
    assert kinds.count(Expected) == 1
    first = [e for e in seen[: kinds.index(Expected)] if isinstance(e, Sampled)]
    assert {e.slices for e in first} == {(2,)}
    reference = next(e for e in events(two_planes, tiny_case) if isinstance(e, Expected))
    np.testing.assert_array_equal(seen[kinds.index(Expected)].probability, reference.probability)
    alone = [type(e) for e in events(two_planes, tiny_case, preview=0, focus=2, slices="2:3")]
    assert alone.index(Expected) < alone.index(Sampled), "with its only slice a member would be whole"


def expected(checkpoint, case, axis, **settings):
    """What the first evaluation of member 0, or another, predicts in one plane, (X, Y, Z)."""
    request = SegmentRequest(**{"device": "cpu", "members": 1, "second_plane": "off"} | settings)
    out = np.zeros(case.shape, np.float32)
    for traced in LocalSegmenter(checkpoint, preview_interval_s=None).trace(case, request):
        if traced.step == 1:
            for (_, s), plane in zip(traced.rows, traced.evidence, strict=True):
                np.moveaxis(out, axis, 0)[s] = plane
    return out


def test_no_first_evaluation_is_made_twice(two_planes, tiny_case, monkeypatch):
    rows, predict = [], FastUNet.conditioned_on

    def counting(network, image):
        evaluate = predict(network, image)
        return lambda x_t, timestep: rows.append(len(x_t)) or evaluate(x_t, timestep)

    monkeypatch.setattr(FastUNet, "conditioned_on", counting)
    seen = events(two_planes, tiny_case, batch_size=4, stop_early="off")
    assert sum(rows) == seen[0].evaluations + 4, "those of the first batch, whose first step came before the estimate"


@pytest.mark.parametrize(
    ("codes", "why"),
    [(("P", "L", "S"), "has the slices of"), (("I", "A", "P"), "three different"), (("P", "S", "L"), "left and right")],
)
def test_a_second_plane_is_another_one(codes, why):
    values = tiny_recipe(mirror=True).model_dump() | {"second_plane": codes}
    with pytest.raises(BadRecipe, match=why):
        make_recipe(values)
