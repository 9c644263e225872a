"""The benchmarks of speed: what they compare is the same work, and the page says what they found."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from speed import Subject, _flop, _measure
from speed_agreement import _differences, _members
from speed_tables import BEGIN, END, PAGE, figures, put

from builders import PAPER_NETWORK, write_case, write_tiny_checkpoint
from napari_diffseg.checkpoint import load_checkpoint
from napari_diffseg.encode import encode
from napari_diffseg.events import Sampled, SegmentRequest
from napari_diffseg.imaging.case import read_case
from napari_diffseg.networks.fast_unet import FastUNet
from napari_diffseg.networks.unet import to_inference
from napari_diffseg.segmenting.segmenter import LocalSegmenter

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return load_checkpoint(write_tiny_checkpoint(tmp_path_factory.mktemp("checkpoint") / "tiny.safetensors"))


def test_the_papers_network_takes_380_gflop():
    assert _flop(PAPER_NETWORK, (224, 224)) == pytest.approx(380.5e9, rel=1e-3)


def test_a_measurement_relates_the_engine_to_the_reference_of_the_same_rounds(checkpoint):
    row = _measure(Subject("tiny", checkpoint.network, checkpoint.recipe), CPU, rounds=1, batches=[1, 3])
    assert [r["batch"] for r in row["engine"]] == [1, 3]
    for r in row["engine"]:
        ratio = r["member_steps_a_second"] / row["reference"]["member_steps_a_second"]
        assert r["times_reference"] == pytest.approx(ratio, rel=0.02)


def test_compared_members_are_those_of_the_engine(checkpoint, tmp_path):
    case = read_case(write_case(tmp_path))
    seen = encode(case, checkpoint.recipe)
    network = FastUNet(to_inference(checkpoint.network()))
    mine = _members(network, seen, checkpoint.recipe, 2, CPU)
    request = SegmentRequest(members=2, device="cpu", precision="fp32", batch_size=2)
    for event in LocalSegmenter(checkpoint, preview_interval_s=None).segment(case, request):
        if isinstance(event, Sampled):
            place = [seen.sampled.index(s) for s in event.slices]
            assert (mine[event.member, place] != event.mask[0]).mean() < 1e-3
    assert mine.any()


def test_differences_of_masks_have_known_sizes():
    expected = np.zeros((5, 1, 4, 5), bool)
    expected[:, 0, :2] = True
    assert _differences(expected, expected)["consensus_dice"] == 1
    got = expected.copy()
    got[0, 0, 0, 0] = False
    found = _differences(got, expected)
    assert found["consensus_dice"] == 1
    assert found["members_changed"] == 0.01
    assert (found["mean_largest"], found["variance_largest"]) == (0.2, 0.2)
    assert found["mean_average"] == pytest.approx(0.01)


def test_the_page_says_what_the_results_say():
    page = PAGE.read_text("utf-8")
    assert page == put(page, figures(PAGE.parents[1] / "benchmarks" / "results"))


def test_a_page_without_marks_is_refused():
    with pytest.raises(SystemExit, match="put them back"):
        put("no marks", "text")
    assert put(f"a {BEGIN} old {END} z", "new") == f"a {BEGIN}\n\nnew\n{END} z"
