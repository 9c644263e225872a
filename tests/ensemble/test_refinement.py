"""The one-step estimate refined by brightness."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from napari_diffseg.ensemble.refinement import refine_by_brightness, refine_slices

MM = (1.0, 1.0, 1.0)


def ball(shape, radius):
    """Voxels within so many voxels of the middle."""
    axes = np.meshgrid(*(np.arange(n) - n // 2 for n in shape), indexing="ij")
    return sum(a**2 for a in axes) <= radius**2


@pytest.fixture(scope="module")
def scene():
    """A bright ball of 10 voxels in an even brain with noise, and an estimate that finds its inner 7 alone."""
    shape = (56, 56, 56)
    truth, brain = ball(shape, 10), ball(shape, 26)
    image = np.where(brain, 100 + 60 * truth + np.random.default_rng(0).normal(0, 8, shape), 0)
    estimate = np.where(brain, gaussian_filter(ball(shape, 7).astype(np.float32), 1.0), 0).astype(np.float32)
    return truth, brain, image, estimate


def refine(scene, **changes):
    _, brain, image, estimate = scene
    values = {"probability": estimate, "image": image, "inside": brain, "spacing_mm": MM} | changes
    return refine_by_brightness(values.pop("probability"), values.pop("image"), values.pop("inside"), **values)


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


@pytest.mark.parametrize("radius", [7, 8, 9, 12, 13])
def test_a_boundary_moves_towards_where_the_image_changes(scene, radius):
    truth, brain, _, _ = scene
    estimate = np.where(brain, gaussian_filter(ball(brain.shape, radius).astype(np.float32), 1.0), 0).astype(np.float32)
    assert dice(refine(scene, probability=estimate) > 0.5, truth) > dice(estimate > 0.5, truth) + 0.08


def test_it_is_no_surer_of_a_lesion_than_the_estimate_and_finds_nothing_far_from_it(scene):
    _, brain, image, estimate = scene
    unsure = refine(scene, probability=estimate * np.float32(0.4))
    assert unsure.max() <= 0.4
    assert unsure.max() > 0.3
    far = np.zeros_like(brain)
    far[28, 28, 48:52] = True
    also_bright = np.where(far, 160, image)
    assert not refine(scene, image=also_bright)[far].any()


def test_a_lesion_of_few_voxels_that_the_estimate_is_sure_of_is_not_lost():
    shape = (56, 56, 56)
    truth, brain = ball(shape, 3), ball(shape, 26)
    image = np.where(brain, 100 + 60 * truth + np.random.default_rng(0).normal(0, 8, shape), 0)
    assert dice(refine((truth, brain, image, truth.astype(np.float32))) > 0.5, truth) > 0.95


def test_where_the_image_tells_nothing_a_lesion_does_not_grow(scene):
    truth, brain, _, _ = scene
    even = np.where(brain, 100 + np.random.default_rng(1).normal(0, 8, brain.shape), 0)
    mask = refine(scene, image=even) > 0.5
    assert not mask[~truth & brain].any()


@given(gain=st.floats(0.01, 100), offset=st.floats(-1000, 1000), dark=st.booleans())
@settings(max_examples=12, deadline=None)
def test_unit_and_sign_of_the_image_do_not_matter(scene, gain, offset, dark):
    _, brain, image, _ = scene
    other = (-gain if dark else gain) * image + offset
    np.testing.assert_allclose(refine(scene, image=other)[brain], refine(scene)[brain], atol=0.02)


def test_what_is_outside_has_no_part_in_it(scene):
    _, brain, image, estimate = scene
    half = brain.copy()
    half[28:] = False
    wild = np.where(half, image, 1e6)
    other = np.where(half, estimate, 0.3).astype(np.float32)
    refined = refine(scene, image=wild, inside=half, probability=other)
    np.testing.assert_array_equal(refined[half], refine(scene, inside=half)[half])
    assert (refined[~half] == np.float32(0.3)).all()


def test_thick_slices_are_as_far_apart_as_they_are(scene):
    _, brain, image, estimate = scene
    thick = refine(
        scene, probability=estimate[..., ::5], image=image[..., ::5], inside=brain[..., ::5], spacing_mm=(1, 1, 5)
    )
    assert dice(thick > 0.5, refine(scene)[..., ::5] > 0.5) > 0.9


@pytest.mark.parametrize("estimate", [0.0, 1.0])
def test_an_estimate_that_is_the_same_everywhere_stays_what_it_is(scene, estimate):
    _, brain, _, _ = scene
    everywhere = np.full(brain.shape, estimate, np.float32)
    np.testing.assert_allclose(refine(scene, probability=everywhere)[brain], estimate, atol=1e-3)


def test_an_even_image_tells_nothing_and_fails_nothing(scene):
    refined = refine(scene, image=np.ones_like(scene[2]))
    assert np.isfinite(refined).all()
    assert 0 < refined.max() <= 1
    np.testing.assert_array_equal(refine(scene, inside=np.zeros_like(scene[1])), scene[3])


def test_slices_of_a_run_are_refined_within_what_was_asked_for(scene):
    _, brain, image, estimate = scene
    settings = {"slices": range(26, 30), "slice_axis": 1, "spacing_mm": MM}
    refined = refine_slices(estimate, image, brain, window=((10, 30), (0, 56)), **settings)
    assert refined.shape == (4, 56, 56)
    asked = np.zeros_like(brain)
    asked[10:30, 26:30] = True
    whole = refine(scene, inside=brain & asked)
    np.testing.assert_array_equal(refined[:, 10:30], np.moveaxis(whole, 1, 0)[26:30, 10:30])


@pytest.mark.parametrize("sure", [0.6, 0.9])
@pytest.mark.parametrize("radius", [2, 6])
def test_a_lesion_that_the_image_does_not_show_stays_nearly_as_it_is(scene, radius, sure):
    _, brain, _, _ = scene
    even = np.where(brain, 100 + np.random.default_rng(2).normal(0, 8, brain.shape), 0)
    estimate = (sure * ball(brain.shape, radius)).astype(np.float32)
    assert dice(refine(scene, image=even, probability=estimate) > 0.5, estimate > 0.5) == 1


def test_where_the_image_is_not_the_estimate_stays(scene):
    truth, brain, image, estimate = scene
    cut = image.copy()
    cut[28:] = 0
    settings = {"slices": range(56), "slice_axis": 0, "window": None, "spacing_mm": MM}
    refined = refine_slices(estimate, cut, brain, **settings)
    np.testing.assert_array_equal(refined[28:], estimate[28:])
    assert dice(refined[:28] > 0.5, truth[:28]) > dice(estimate[:28] > 0.5, truth[:28]) + 0.08
