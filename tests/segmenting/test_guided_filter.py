"""The guided filter."""

from __future__ import annotations

import numpy as np
import pytest

from napari_diffseg.segmenting.guided_filter import guided

SHAPE, SPACING = (24, 24, 12), (1.0, 1.0, 2.0)


@pytest.fixture
def scene():
    """A bright lesion in a noisy image, and a probability that is shifted beside it."""
    rng = np.random.default_rng(0)
    lesion = np.zeros(SHAPE, bool)
    lesion[6:16, 6:16, 3:9] = True
    image = (lesion * 2.0 + 3.0 + rng.normal(0, 0.1, SHAPE)).astype(np.float32)
    probability = np.roll(lesion, 2, axis=0).astype(np.float32)
    return lesion, image, probability


def test_its_edges_move_to_those_of_the_image(scene):
    lesion, image, probability = scene
    before, after = (((p > 0.5) != lesion).sum() for p in (probability, whole(probability, image)))
    assert after < before / 3


def whole(probability, image):
    return guided(probability, image, np.ones(SHAPE, bool), SPACING)


def test_it_is_the_least_squares_fit_of_every_box_averaged(scene):
    _, image, probability = scene
    ready = whole(probability, image)
    low, high = np.percentile(image, (1, 99))
    guide = np.clip(image, low, high)
    guide = (guide - guide.mean()) / guide.std()
    slopes, offsets = np.zeros(SHAPE), np.zeros(SHAPE)
    for voxel in np.ndindex(SHAPE):
        box = around(voxel)
        p, g = probability[box].ravel(), guide[box].ravel()
        slope = np.cov(p, g, bias=True)[0, 1] / (g.var() + 0.01)
        slopes[voxel], offsets[voxel] = slope, p.mean() - slope * g.mean()
    for voxel in [(10, 10, 5), (5, 9, 3), (0, 0, 0), (23, 12, 11), (17, 8, 6)]:
        expected = np.clip(slopes[around(voxel)].mean() * guide[voxel] + offsets[around(voxel)].mean(), 0, 1)
        assert ready[voxel] == pytest.approx(expected, abs=2e-3)


def around(voxel):
    return tuple(slice(max(0, i - r), i + r + 1) for i, r in zip(voxel, (4, 4, 2), strict=True))


def test_outside_the_brain_and_where_nothing_is_expected_all_stays(scene):
    _, image, probability = scene
    brain = np.ones(SHAPE, bool)
    brain[12:] = False
    changed = np.where(brain, image, 1000)
    ready = guided(probability, changed, brain, SPACING)
    np.testing.assert_array_equal(ready[~brain], probability[~brain])
    np.testing.assert_array_equal(ready[:12], guided(probability, image, brain, SPACING)[:12])
    nothing = np.zeros(SHAPE, np.float32)
    np.testing.assert_array_equal(whole(nothing, image), nothing)
    np.testing.assert_array_equal(whole(probability, np.ones(SHAPE, np.float32)), probability)
