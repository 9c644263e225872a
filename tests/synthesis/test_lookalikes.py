"""What looks like a lesion and is none, and oedema that hardly shows."""

from __future__ import annotations

import numpy as np
import pytest

from napari_diffseg.errors import BadRequest
from napari_diffseg.synthesis.lookalikes import draw_fading
from napari_diffseg.synthesis.phantom import MODALITIES

CLEAN = {"seed": 7, "artefacts": 0.0, "randomise": 0.0, "shape": (96, 104, 1), "spacing_mm": (2.0, 2.0, 2.0)}
FAMILIES = ["grown", "mixture"]


def difference(one, other):
    """Of all modalities, relative to the brain's mean."""
    return {
        m: (other.volumes[m].astype(float) - one.volumes[m]) / one.volumes[m][one.volumes[m] > 0].mean()
        for m in MODALITIES
    }


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("change", [{"lookalikes": 1.0}, {"faint": 1.0}])
def test_neither_changes_what_readers_mark(slice_of, family, change):
    plain, changed = slice_of(family=family, **CLEAN), slice_of(family=family, **CLEAN, **change)
    np.testing.assert_array_equal(changed.reader_labels, plain.reader_labels)
    np.testing.assert_array_equal(changed.seg, plain.seg)
    np.testing.assert_array_equal(changed.probability, plain.probability)
    assert any((changed.volumes[m] != plain.volumes[m]).any() for m in MODALITIES)


@pytest.mark.parametrize("family", FAMILIES)
def test_lookalikes_are_outside_the_lesion_and_enhance_most_in_t1ce(slice_of, family):
    inside, outside = [], {m: [] for m in MODALITIES}
    for seed in range(3):
        settings = CLEAN | {"seed": seed, "family": family}
        plain = slice_of(**settings)
        added = difference(plain, slice_of(**settings, lookalikes=1.0))
        certain = plain.probability > 0.999
        if certain.sum() > 30:
            inside.append(max(float(np.median(np.abs(a[certain]))) for a in added.values()))
        for m, a in added.items():
            outside[m].append(np.quantile(a[(plain.probability == 0) & (plain.volumes[m] > 0)], 0.99))
    assert inside
    assert max(inside) < 0.02
    assert np.mean(outside["t1ce"]) > 2 * np.mean(outside["t1"])
    assert np.mean(outside["t1ce"]) > 0.1


@pytest.mark.parametrize("family", FAMILIES)
def test_faint_oedema_changes_the_oedema_alone(slice_of, family):
    plain, faint = slice_of(family=family, **CLEAN), slice_of(family=family, **CLEAN, faint=1.0)
    changed = np.max([np.abs(d) for d in difference(plain, faint).values()], axis=0) > 0.1
    assert changed.sum() > 20
    assert (plain.probability[changed] > 0).mean() > 0.9


def test_fading_takes_the_outer_third_and_leaves_some_of_it_in_t2_or_flair():
    boundary = np.broadcast_to(np.linspace(-1, 0, 40, dtype=np.float32)[:, None, None], (40, 40, 1))
    for seed in range(20):
        kept = draw_fading(np.random.default_rng(seed), boundary, spacing_mm=(2.0, 2.0, 2.0), amount=1.0)
        assert all((k[:3] > 0.99).all() and k[-1].mean() < 0.6 for k in kept.values())
        assert max(kept["t2"].min(), kept["flair"].min()) > 0.29
    untouched = draw_fading(np.random.default_rng(0), boundary, spacing_mm=(2.0, 2.0, 2.0), amount=0.0)
    assert all((k == 1).all() for k in untouched.values())


@pytest.mark.parametrize("change", [{"faint": 1.5}, {"lookalikes": -0.1}])
def test_shares_that_are_none_are_refused(slice_of, change):
    with pytest.raises(BadRequest, match="faint, lookalikes"):
        slice_of(**change)
