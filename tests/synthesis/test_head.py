"""Phantoms whose skull was not stripped: the same brain, with a head around it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_diffseg.synthesis.phantom import PhantomSettings, make_phantom

STRIPPED = PhantomSettings(shape=(56, 60, 36), spacing_mm=(4.0, 4.0, 4.0), readers=2, seed=11, artefacts=0.0)


@pytest.fixture(scope="module", params=["grown", "mixture"])
def pair(request):
    stripped = replace(STRIPPED, family=request.param)
    return make_phantom(stripped), make_phantom(replace(stripped, scalp=True))


def test_the_brain_its_readers_and_its_images_are_the_same(pair):
    stripped, whole = pair
    np.testing.assert_array_equal(stripped.seg, whole.seg)
    np.testing.assert_array_equal(stripped.readers, whole.readers)
    for m, image in stripped.volumes.items():
        np.testing.assert_array_equal(image[image > 0], whole.volumes[m][image > 0])


def test_around_it_are_dark_bone_and_bright_fat(pair):
    stripped, whole = pair
    t1, brain = whole.volumes["t1"].astype(float), stripped.volumes["t1"] > 0
    white = np.percentile(t1[brain], 80)
    middle = t1[:, :, 20]
    outside = middle[~brain[:, :, 20]]
    assert (outside > 0.8 * white).sum() > 40
    ring = np.roll(brain[:, :, 20], 2, axis=0) & ~brain[:, :, 20]
    assert (middle[ring] < 0.5 * white).mean() > 0.2


def test_the_air_is_noise(pair):
    _, whole = pair
    for image in whole.volumes.values():
        corner = image[:3, :3]
        assert corner.max() < 0.2 * image.max()
        assert (corner > 0).mean() > 0.3
