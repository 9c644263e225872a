"""The shipped checkpoint on the shipped case."""

from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from napari_diffseg.checkpoint import load_checkpoint
from napari_diffseg.ensemble.ensemble import Ensemble
from napari_diffseg.events import Sampled, SegmentRequest, Started
from napari_diffseg.imaging.case import read_case
from napari_diffseg.segmenting.segmenter import LocalSegmenter

pytestmark = pytest.mark.slow
FOLDER = Path(str(files("napari_diffseg") / "data" / "demo_case"))


@pytest.fixture(scope="module")
def case():
    return read_case(FOLDER)


@pytest.fixture(scope="module")
def segmenter():
    return LocalSegmenter(load_checkpoint("demo"), preview_interval_s=None)


def sample(segmenter, case, **settings):
    request = SegmentRequest(device="cpu", **settings)
    for event in segmenter.segment(case, request):
        match event:
            case Started():
                ensemble = Ensemble.for_run(event)
            case Sampled():
                ensemble.add(event.member, event.slices, event.mask)
    return ensemble


def test_it_finds_most_of_the_lesion_and_is_unsure_only_of_little(segmenter, case):
    lesion = case.reference.data > 0
    middle = int(np.argmax(lesion.sum(axis=(0, 1))))
    ensemble = sample(segmenter, case, members=3, slices=f"{middle - 4}:{middle + 4}")
    here = slice(middle - 4, middle + 4)
    mask, truth = ensemble.consensus()[0][..., here] > 0, lesion[..., here]
    assert 2 * (mask & truth).sum() / (mask.sum() + truth.sum()) > 0.8
    assert (ensemble.variance()[0][..., here] > 0.05).mean() < 0.05  # a smoothed vote leaves a trace of doubt around


def test_a_member_differs_in_at_most_one_voxel_of_100_000_between_batch_sizes(segmenter, case):
    one, many = (sample(segmenter, case, members=2, slices="40:50", batch_size=n) for n in (1, 16))
    changed = np.mean([(one.member(k) != many.member(k))[..., 40:50].mean() for k in (0, 1)])
    assert changed <= 1e-5


def test_reproducible_runs_are_the_same_to_the_voxel(segmenter, case):
    first, second = (
        sample(segmenter, case, members=2, slices="48:52", reproducible=True, focus=focus) for focus in (None, 50)
    )
    for k in (0, 1):
        np.testing.assert_array_equal(first.member(k), second.member(k))
