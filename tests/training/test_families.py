"""Phantoms of which family are trained on, and of which others a training is stopped by."""

from __future__ import annotations

import numpy as np
import pytest

from napari_diffseg.errors import BadRequest
from napari_diffseg.training.config_file import changed
from napari_diffseg.training.draw import PhantomSource
from napari_diffseg.training.presets import TINY

RECIPE = TINY.recipe


def families(source):
    split = source.split()
    return [source.stamp(c) for c in split.train], [source.stamp(c) for c in split.held_out]


def test_without_a_word_of_it_all_are_of_the_first_family():
    assert families(PhantomSource(RECIPE, 20, 2, 100)) == (["phantom"] * 20, ["phantom"] * 2)


def test_families_are_drawn_in_turn_and_the_held_out_ones_of_their_own():
    trained, held_out = families(
        PhantomSource(RECIPE, 64, 3, 0, families=("grown", "mixture"), held_out_family="mixture")
    )
    assert trained.count("phantom") == trained.count("phantom, mixture") == 32
    assert held_out == ["phantom, mixture"] * 3


def test_a_share_of_them_has_a_scalp_and_its_slices_can_be_trained_on():
    source = PhantomSource(RECIPE, 200, 0, 0, scalp_share=0.25)
    scalp = [c for c in source.split().train if source.stamp(c) == "phantom, scalp"]
    assert 30 < len(scalp) < 70
    stripped = PhantomSource(RECIPE, 200, 0, 0)
    whole, brain = (s.read(scalp[0]).case.volumes["t1"].data for s in (source, stripped))
    assert (whole > 0).sum() > (brain > 0).sum()
    np.testing.assert_array_equal(whole[brain > 0], brain[brain > 0])


def test_shares_have_faint_oedema_and_lookalikes_each_chosen_by_itself():
    source = PhantomSource(RECIPE, 200, 0, 0, faint_share=0.3, lookalike_share=0.5)
    stamps = families(source)[0]
    faint, like = ([word in stamp for stamp in stamps] for word in ("faint", "look-alikes"))
    assert 40 < sum(faint) < 80
    assert 80 < sum(like) < 120
    assert 15 < sum(f and k for f, k in zip(faint, like, strict=True)) < 45


def test_the_card_says_which():
    source = PhantomSource(RECIPE, 4, 1, 0, families=("mixture",))
    assert "mixture), no patient data" in source.describe(source.split())


def test_a_family_that_is_none_is_refused():
    with pytest.raises(BadRequest, match="families"):
        changed(TINY, {"data": {"families": ["drawn"]}}, where="test")
