"""A checkpoint that is read otherwise than it was trained is told so, with the reading that fits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_diffseg import demo_case_folder
from napari_diffseg.checkpoint import load_checkpoint
from napari_diffseg.errors import BadCase
from napari_diffseg.imaging.case import read_case
from napari_diffseg.segmenting.self_test import ASPECTS, CLEARLY, check_checkpoint


@pytest.fixture(scope="module")
def shipped_case():
    return read_case(demo_case_folder())


def verdict_of(test):
    steps = []
    while True:
        try:
            steps.append(next(test))
        except StopIteration as end:
            return end.value, steps


def test_a_wrong_order_of_channels_is_found_out(shipped_case):
    wrong = load_checkpoint("demo", channel_order="mask_first")
    test = check_checkpoint(wrong, shipped_case, device="cpu", slices=1, aspects=["channel order"])
    verdict, _ = verdict_of(test)
    assert dict(verdict.best.changes) == {"channel_order": "images_first"}
    assert "channel_order = images_first" in verdict.rows()[0][1]


@pytest.mark.slow
def test_wrong_readings_of_the_shipped_checkpoint_are_found_out(shipped_case):
    wrong = load_checkpoint("demo", channel_order="mask_first", normalisation="none")
    verdict, steps = verdict_of(check_checkpoint(wrong, shipped_case, device="cpu", slices=1))
    assert verdict.best.changes["channel_order"] == "images_first"
    assert verdict.best.changes["normalisation"] == "zscore"
    assert verdict.fits
    assert verdict.best.agreement > verdict.stated + 0.3
    assert "channel_order = images_first" in verdict.rows()[0][1]
    done = [step.done for step in steps]
    assert done == sorted(done)
    assert done[-1] <= steps[-1].total


@pytest.mark.slow
def test_the_recipe_it_was_trained_with_is_kept(shipped_case):
    test = check_checkpoint(load_checkpoint("demo"), shipped_case, device="cpu", slices=1)
    verdict, _ = verdict_of(test)
    assert not verdict.best.changes or verdict.best.agreement < verdict.stated + 2 * CLEARLY
    assert verdict.stated > 0.8
    assert [name for name, _ in verdict.rows()] == ["check", *ASPECTS]
    assert verdict.as_values()["fits"] is True


def test_a_test_that_is_closed_stops(shipped_case):
    test = check_checkpoint(load_checkpoint("demo"), shipped_case, device="cpu", slices=1)
    next(test)
    test.close()
    with pytest.raises(StopIteration):
        next(test)


def test_a_network_that_fits_no_reading_is_said_to_fit_none(tiny_checkpoint, tiny_case):
    mask = np.zeros(tiny_case.shape, np.uint8)
    mask[3:5, 3:5, 1:3] = 1
    case = replace(tiny_case, reference=replace(tiny_case.grid_volume, data=mask))
    verdict, _ = verdict_of(check_checkpoint(tiny_checkpoint, case, device="cpu"))
    assert not verdict.fits
    assert "no reading fits" in verdict.rows()[0][1]


@pytest.mark.parametrize(("value", "said"), [(None, "no reference mask"), (0, "reference mask is empty")])
def test_a_case_that_cannot_tell_is_refused(tiny_checkpoint, tiny_case, value, said):
    mask = None if value is None else replace(tiny_case.grid_volume, data=np.zeros(tiny_case.shape, np.uint8))
    with pytest.raises(BadCase, match=said):
        next(check_checkpoint(tiny_checkpoint, replace(tiny_case, reference=mask), device="cpu"))
