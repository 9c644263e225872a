"""What the robustness bench changes, and what it counts, is known."""

from __future__ import annotations

import numpy as np
import pytest
from bias_field import without_bias
from changes import CHANGES, Scene, block_means, depth_mm, resampled, shifted
from preprocessing import compared as prepared
from preprocessing import summary as preparation_summary
from robustness import compared, summary

_LESION = 5.0


@pytest.fixture
def scene() -> Scene:
    """A brain of 100 with a lesion of 105, 16 x 12 x 13 voxels of 1 x 1 x 5 mm in a box of background."""
    image, truth = np.zeros((20, 16, 15), np.float32), np.zeros((20, 16, 15), np.float32)
    image[2:18, 2:14, 1:14] = 100
    truth[6:12, 4:8, 5:10] = 1
    affine = np.diag([1.0, 1.0, 5.0, 1.0])
    affine[:3, 3] = (-9, 4, 3)
    return Scene(dict.fromkeys(("t1", "t1ce", "t2", "flair"), image + _LESION * truth), {"truth": truth}, affine)


def by_sight(scene, slices):
    return next(iter(scene.images.values()))[..., list(slices)] > 102


def middle_mm(scene, name="truth"):
    """Where the map lies in the world, mm."""
    where = np.argwhere(scene.maps[name] > 0.5).mean(axis=0)
    return scene.affine[:3, :3] @ where + scene.affine[:3, 3]


@pytest.mark.parametrize("name", [n for n in CHANGES if n != "mirror image"])
def test_a_change_leaves_the_lesion_where_it_is_in_the_world(scene, name):
    changed = CHANGES[name](scene)
    np.testing.assert_allclose(middle_mm(changed), middle_mm(scene), atol=1.6)
    assert changed.maps["truth"].shape == changed.brain.shape
    assert {a.dtype for a in changed.images.values()} == {np.dtype(np.float32)}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_one(scene, name):
    changed = CHANGES[name](scene)
    same = changed.images.keys() == scene.images.keys() and all(
        np.array_equal(changed.images[m], scene.images[m]) for m in scene.images
    )
    assert not same or not np.allclose(changed.affine, scene.affine)


def test_block_means_are_means(scene):
    coarse = block_means(2, 2, 1)(scene)
    assert coarse.spacing_mm == (2, 2, 5)
    assert coarse.images["t1"][1, 1, 1] == 100
    assert coarse.images["t1"][4, 3, 6] == 105


def test_moves_of_nothing_change_nothing(scene):
    np.testing.assert_array_equal(shifted(0, 0, 0)(scene).images["t1"], scene.images["t1"])
    fifth = resampled(5.0)(scene).images["t1"]
    np.testing.assert_array_equal(fifth, scene.images["t1"][::5, :15:5])


def test_the_rim_is_that_of_each_slice_and_holes_have_none(scene):
    brain = scene.brain
    brain[8, 8, 3] = False
    depth = depth_mm(brain, (1.0, 1.0, 5.0))
    assert depth[2, 5, 1] == 1
    assert depth[8, 7, 3] == 6
    dim = CHANGES["rim of one voxel half as bright"](scene).images["t1"]
    assert dim[2, 5, 3] == 50
    assert dim[3, 5, 3] == 100


def test_intensity_changes_keep_the_brain(scene):
    for name in ("bias field of 20 %", "gamma 0.7", "noise of 5 %", "flair in 256 grey values"):
        changed = CHANGES[name](scene)
        for image in changed.images.values():
            np.testing.assert_array_equal(image != 0, scene.brain)


def test_what_changes_nothing_costs_nothing(scene):
    rows = list(compared(scene, {"other way": CHANGES["slices stored the other way"]}, by_sight, every=1))
    assert rows == [{"change": "other way", "unchanged": 1.0, "changed": 1.0, "agreement": 1.0}]


def test_what_is_lost_is_counted(scene):
    rows = [{"case": "a"} | r for r in compared(scene, {"dark": lambda s: s.each(lambda a: a - 50)}, by_sight, every=3)]
    found = summary(rows)
    assert found["cases"] == 1
    assert found["changes"]["dark"] == {
        "unchanged": 1.0,
        "changed": 0.0,
        "mean_loss": 1.0,
        "largest_loss": 1.0,
        "largest_loss_in": "a",
        "agreement": 0.0,
    }


def test_a_trimmed_scene_has_its_lesion_where_it_was(scene):
    small = scene.trimmed(1)
    assert small.brain.shape == (18, 14, 15)
    np.testing.assert_allclose(middle_mm(small), middle_mm(scene))


def test_a_bias_field_is_removed_and_the_lesion_stays_bright():
    rng = np.random.default_rng(1)
    inside, truth = np.zeros((60, 50, 9), np.bool_), np.zeros((60, 50, 9), np.float32)
    inside[4:56, 4:46, 1:8] = True
    truth[10:30, 10:30, 2:7] = 1
    image = np.where(inside, rng.normal(100, 2, truth.shape) + 30 * truth, 0).astype(np.float32)
    scene = Scene({"t1": image}, {"truth": truth}, np.diag([1.0, 1.0, 5.0, 1.0]))
    tilt = np.exp(0.2 * np.linspace(-1, 1, 60))[:, None, None].astype(np.float32)
    flat, again = (without_bias(1)(s).images["t1"] for s in (scene, scene.each(lambda a: a * tilt)))
    assert np.ptp(np.log(again[inside] / flat[inside])) < 1e-3  # it was 0.4 from end to end
    lesion = truth > 0.5
    assert flat[lesion].mean() / flat[inside & ~lesion].mean() == pytest.approx(1.3, abs=0.02)


def test_ways_to_prepare_are_compared_on_the_same_slices(scene):
    def estimate(seen, slices):
        return np.where(by_sight(seen, slices), 0.45, 0.0)

    rows = list(prepared(scene, estimate, every=2))
    assert {row["images"] for row in rows} == {"as it is", "bias field of 20 %"}
    found = {row["way"]: row["dice"] for row in rows if row["images"] == "as it is"}
    assert (found["as it is"], found["as it is, mask above 0.4"]) == (0, 1)
    mean = next(row for row in preparation_summary([{"case": "a"} | row for row in rows]) if row["way"] == "as it is")
    assert (mean["dice"], mean["count"], mean["of"]) == (0, 1, "real cases")
