"""The second family of phantoms: consistent like the first, drawn otherwise."""

from __future__ import annotations

import numpy as np
import pytest

from napari_diffseg.errors import BadRequest
from napari_diffseg.synthesis.mixture import _flow
from napari_diffseg.synthesis.phantom import PhantomSettings, make_phantom

SETTINGS = PhantomSettings(family="mixture", shape=(48, 52, 30), spacing_mm=(4.0, 4.0, 5.0), readers=200, seed=5)


@pytest.fixture(scope="module")
def phantom():
    return make_phantom(SETTINGS)


def test_equal_settings_give_equal_bytes_and_the_other_family_another_patient(phantom):
    again = make_phantom(SETTINGS)
    for m, image in phantom.volumes.items():
        np.testing.assert_array_equal(image, again.volumes[m])
    np.testing.assert_array_equal(phantom.readers, again.readers)
    other = make_phantom(PhantomSettings(family="grown", shape=SETTINGS.shape, spacing_mm=SETTINGS.spacing_mm, seed=5))
    assert (other.volumes["t1"] != phantom.volumes["t1"]).any()
    assert (other.seg != phantom.seg).any()


def test_readers_draw_what_the_probability_says(phantom):
    assert {0, 2} < set(np.unique(phantom.seg)) <= {0, 1, 2, 4}
    np.testing.assert_allclose(phantom.readers.mean(axis=0), phantom.probability, atol=0.16)
    assert np.abs(phantom.readers.mean(axis=0) - phantom.probability).max() > 0
    assert not (phantom.probability[phantom.volumes["t1"] == 0] > 0).any()


@pytest.mark.parametrize("kind", ["glioma", "lowgrade", "ms"])
def test_lesions_are_brighter_than_what_is_around_them_in_flair(kind):
    ratios = []
    for seed in range(4):
        phantom = make_phantom(
            PhantomSettings(family="mixture", kind=kind, shape=(48, 52, 24), spacing_mm=(4.0, 4.0, 6.0), seed=seed)
        )
        flair, sure = phantom.volumes["flair"], phantom.probability > 0.9
        if sure.any():
            ratios.append(flair[sure].mean() / flair[(flair > 0) & (phantom.probability < 0.1)].mean())
    assert len(ratios) >= 3
    assert np.median(ratios) > 1.15


def test_a_healthy_brain_has_no_lesion():
    phantom = make_phantom(PhantomSettings(family="mixture", kind="healthy", shape=(40, 40, 1), spacing_mm=(5, 5, 5)))
    assert not phantom.seg.any()
    assert phantom.volumes["t2"].any()


def test_the_flow_folds_nothing():
    moved = _flow(np.random.default_rng(0), (40, 44, 30), spacing_mm=(3.0, 3.0, 3.0))
    gradients = np.stack([np.stack(np.gradient(u, 3.0)) for u in moved]) + np.eye(3)[:, :, None, None, None]
    inner = np.moveaxis(gradients, (0, 1), (-2, -1))[3:-3, 3:-3, 3:-3]
    assert (np.linalg.det(inner) > 0).mean() > 0.999
    assert np.abs(moved).max() > 5


def test_an_unknown_family_is_refused():
    with pytest.raises(BadRequest, match="grown, mixture"):
        PhantomSettings(family="drawn")
