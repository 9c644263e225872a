"""Validation: known answers for known members, and the slices that are looked at."""

import math

import numpy as np
import pytest

from builders import tiny_recipe, write_tiny_checkpoint
from napari_diffseg.checkpoint import load_checkpoint
from napari_diffseg.imaging.case import Case
from napari_diffseg.imaging.volume import Volume
from napari_diffseg.training.config import ValidationSettings
from napari_diffseg.training.source import LabelledCase
from napari_diffseg.training.validate import CaseFigures, _slices, measured, summary, validate_case


def labelled(*, lesion=slice(6, 9), slices=20):
    volumes = {}
    for name in ("t1", "t1ce", "t2", "flair"):
        data = np.zeros((14, 12, slices), np.float32)
        data[2:12, 2:10] = 5
        volumes[name] = Volume(data, np.diag([-1.0, -1.0, 1.0, 1.0]), None, None, ())
    readers = np.zeros((2, 1, 14, 12, slices), np.bool_)
    readers[:, :, 4:8, 4:8, lesion] = True
    return LabelledCase(Case("c", volumes, None), readers)


def test_members_that_are_the_readers_are_perfect():
    readers = labelled().readers[:, 0]
    figures = summary([CaseFigures((measured(readers, readers, np.ones(readers.shape[1:], np.bool_)),))])
    assert (figures.dice, figures.ece, figures.ged_squared) == (1.0, 0.0, 0.0)


def test_members_that_see_nothing_have_the_figures_of_their_error():
    case = labelled()
    brain, readers = case.case.grid_volume.data > 0, case.readers[:, 0]
    figures = summary([CaseFigures((measured(np.zeros_like(readers), readers, brain),))])
    assert figures.dice == 0
    assert figures.ece == pytest.approx(case.readers[0].sum() / brain.sum())
    assert figures.ged_squared == 2


def test_figures_of_no_case_are_not_numbers():
    assert math.isnan(summary([]).dice)


@pytest.mark.parametrize(
    ("lesion", "count", "expected"),
    [
        (slice(6, 9), 4, range(5, 9)),
        (slice(0, 1), 4, range(4)),
        (slice(19, 20), 4, range(16, 20)),
        (slice(0, 0), 4, range(8, 12)),
        (slice(6, 9), None, range(20)),
        (slice(6, 9), 50, range(20)),
    ],
)
def test_the_slices_lie_about_the_lesions_middle_and_inside_the_volume(lesion, count, expected):
    assert _slices(labelled(lesion=lesion), tiny_recipe(), count) == (2, expected)


def test_a_case_is_segmented_the_same_way_each_time(tmp_path):
    checkpoint = load_checkpoint(write_tiny_checkpoint(tmp_path / "tiny.safetensors"))
    settings = ValidationSettings(members=2, slices=3)
    one, other = (validate_case(labelled(), checkpoint, settings, device="cpu") for _ in range(2))
    assert one == other
    assert sum(one.regions[0].curve.count) == 3 * 10 * 8  # the brain's voxels on three slices
