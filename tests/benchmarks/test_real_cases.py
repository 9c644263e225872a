"""Members that are kept are those that were sampled; a thinned case has its slices where they were."""

from __future__ import annotations

import numpy as np
import pytest
from kept_members import ensemble_of
from real_cases import other_masks, thinned

from builders import write_case, write_tiny_checkpoint
from napari_diffseg.checkpoint import load_checkpoint
from napari_diffseg.events import SegmentRequest
from napari_diffseg.imaging.case import read_case
from napari_diffseg.segmenting.segmenter import LocalSegmenter

REQUEST = SegmentRequest(members=2, timesteps=2, device="cpu")


@pytest.fixture
def case(tmp_path):
    write_case(tmp_path / "case")
    return read_case(tmp_path / "case", modalities=("t1", "t1ce", "t2", "flair"))


def test_kept_members_are_not_sampled_again(tmp_path, case):
    checkpoint = load_checkpoint(write_tiny_checkpoint(tmp_path / "tiny.safetensors", smoothing_mm=1.0))
    segmenter = LocalSegmenter(checkpoint, preview_interval_s=None)
    first = ensemble_of(case, segmenter, checkpoint, REQUEST, folder=tmp_path / "kept")
    assert len(list((tmp_path / "kept").iterdir())) == 1
    again = ensemble_of(case, segmenter, checkpoint, REQUEST, folder=tmp_path / "kept")
    for k in first.members:
        np.testing.assert_array_equal(first.member(k), again.member(k))
    np.testing.assert_allclose(first.expected.probability(), again.expected.probability(), atol=1e-3)
    ensemble_of(case, segmenter, checkpoint, REQUEST.model_copy(update={"seed": 1}), folder=tmp_path / "kept")
    assert len(list((tmp_path / "kept").iterdir())) == 2


def test_a_thinned_case_keeps_its_slices_where_they_were(case):
    thin = thinned(case, 2)
    np.testing.assert_array_equal(thin.volumes["t1"].data, case.volumes["t1"].data[..., ::2])
    for s in range(thin.shape[2]):
        np.testing.assert_allclose(thin.affine @ [0, 0, s, 1], case.affine @ [0, 0, 2 * s, 1])
    assert thinned(case, 1) is case


def test_other_masks_leave_out_what_is_below_their_threshold_or_nowhere_certain():
    truth = np.zeros((12, 9, 6), np.bool_)
    truth[1:5, 1:5, 1:5] = True
    p = np.where(truth, 0.95, 0.0).astype(np.float32)
    p[8:11, 2:7, 1:4] = 0.75  # an island, nowhere above 0.75
    p[1:5, 5, 1:5] = 0.55  # a margin that touches the lesion
    found = other_masks(p, truth)
    lesion, island, margin = 64, 45, 16

    def expected(marked):
        return pytest.approx(2 * lesion / (lesion + marked), abs=1e-4)

    assert found["above 0.4"] == expected(lesion + island + margin)
    assert found["above 0.6"] == expected(lesion + island)
    assert found["components that reach 0.7 somewhere"] == expected(lesion + island + margin)
    assert found["components that reach 0.8 somewhere"] == expected(lesion + margin)
    assert found["largest component"] == expected(lesion + margin)
    assert set(other_masks(np.zeros_like(p), truth).values()) == {0.0}
