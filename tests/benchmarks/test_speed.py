"""The benchmarks of speed: what they compare is the same work, and the page says what they found."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from cells import RESULTS
from growth import exponent, small_network
from memory_process import Repeated
from speed import Subject, _flop, _measure
from speed_agreement import _differences, _members
from speed_tables import PAGE, figures
from viewer import TARGETS, summarise

from builders import PAPER_NETWORK, write_case, write_tiny_checkpoint
from napari_diffseg.checkpoint import load_checkpoint
from napari_diffseg.encode import encode
from napari_diffseg.ensemble.ensemble import Ensemble
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


@pytest.mark.slow
def test_a_measurement_relates_the_engine_to_the_reference_of_the_same_rounds(checkpoint):
    row = _measure(Subject("tiny", checkpoint.network, checkpoint.recipe, 2), CPU, rounds=1, batches=[1, 3])
    assert [r["batch"] for r in row["engine"]] == [1, 3]
    for r in row["engine"]:
        ratio = r["member_steps_a_second"] / row["reference"]["member_steps_a_second"]
        assert r["times_reference"] == pytest.approx(ratio, rel=0.02)


@pytest.mark.slow
def test_a_network_that_is_compiled_is_measured_beside_the_engines_way(checkpoint, tmp_path):
    subject = Subject("tiny", checkpoint.network, checkpoint.recipe, 2)
    row = _measure(subject, CPU, rounds=1, batches=[1, 3], compiled=True)
    assert [r["batch"] for r in row["compiled"]] == [1, 3]
    assert row["compiled_in_s"] > 0
    record = json.loads((RESULTS / "speed.json").read_text("utf-8")) | {"networks": [row]}
    (tmp_path / "speed.json").write_text(json.dumps(record), "utf-8")
    assert figures(tmp_path).count("| engine, compiled, ") == 2


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
    assert PAGE.path.read_text("utf-8") == PAGE.made()


def test_a_gpus_figures_stand_below_a_processors_under_one_title(tmp_path):
    assert figures(tmp_path).count("Nothing has been measured yet") == 1
    record = json.loads((RESULTS / "speed_agreement.json").read_text("utf-8"))
    for name in ("speed_agreement", "speed_agreement_gpu"):
        (tmp_path / f"{name}.json").write_text(json.dumps(record), "utf-8")
    page = figures(tmp_path)
    assert page.count("## Whether the masks are the same") == page.count("### On a GPU") == 1
    assert "Nothing has been measured" not in page


def test_time_in_proportion_has_an_exponent_of_one():
    assert exponent((4, 8, 16, 32), (0.4, 0.8, 1.6, 3.2)) == 1
    assert exponent((4, 8, 16, 32), (1, 4, 16, 64)) == 2


def test_a_small_network_samples_as_the_checkpoints_own_does(checkpoint, tmp_path):
    small = small_network(checkpoint)
    assert small.parameters > 0
    assert small.digest == checkpoint.digest
    case = read_case(write_case(tmp_path))
    sampled = list(LocalSegmenter(small).segment(case, SegmentRequest(device="cpu", members=1, timesteps=1)))
    assert any(isinstance(event, Sampled) for event in sampled)


def test_repeated_members_are_the_first_ones_shifted_and_arrive_as_a_runs_do(checkpoint, tmp_path):
    case = read_case(write_case(tmp_path))
    request = SegmentRequest(device="cpu", members=3)
    events = list(Repeated(LocalSegmenter(checkpoint)).segment(case, request))
    ensemble = Ensemble.for_run(events[0])
    for event in events:
        if isinstance(event, Sampled):
            ensemble.add(event.member, event.slices, event.mask)
    assert events[0].members == events[-1].members == ensemble.members == (0, 1, 2)
    plane = {k: np.moveaxis(ensemble.member(k), events[0].slice_axis + 1, 1) for k in (0, 2)}
    assert plane[0].any()
    np.testing.assert_array_equal(plane[2], np.roll(plane[0], 2, axis=-1))


def test_a_viewers_figures_are_set_against_the_idle_window():
    clock = SimpleNamespace(
        gaps={"idle": [1.0, 1.0, 2.0], "streaming": [1.0, 3.0, 12.0]},
        took={"preview": [2.0, 4.0, 9.0]},
        first_preview_s=[0.2, 0.4, 0.3],
        made=30,
        shown=24,
        shown_s=2.0,
    )
    found = summarise(clock)["found"]
    assert found["worst gap beyond idle, ms"] == 10
    assert found["window's work a preview, ms"] == 4
    assert found["first preview, s"] == 0.3
    assert found["previews a second, at least"] == 12
    assert found.keys() == TARGETS.keys()


def test_steps_that_are_left_out_and_an_earlier_build_have_their_tables(tmp_path):
    known = {
        "command": "python benchmarks/x.py",
        "date": "2026-11-30",
        "device": "2 threads",
        "versions": {"torch": "2.13.0"},
        "checkpoint": None,
    }
    row = {
        "case": "shipped",
        "times_faster": 1.9,
        "steps_left_out": 0.48,
        "where_no_lesion_was_expected": 0.38,
        "consensus_dice": 0.9971,
        "consensus_voxels": 1000,
        "consensus_voxels_that_differ": 6,
        "member_voxels": 5000,
        "member_voxels_that_differ": 50,
        "mean_voxels_that_differ": 48,
        "largest_mean_difference": 0.4,
        "variance_voxels_that_differ": 45,
        "sum_of_variance": [100.4, 98.7],
        "dice_to_truth": {"all steps": 0.9225, "early": 0.9229},
    }
    (tmp_path / "early_stop.json").write_text(json.dumps(known | {"members": 5, "rows": [row]}))
    builds = {"earlier": "7565803", "present": "abc", "rounds": 3, "busy": 0.0}
    rows = [{"what": "five members", "earlier_s": 1.8, "present_s": 0.9, "ratio": 2.0, "processor_ratio": 1.91}]
    rows.append({"what": "new", "earlier_s": None, "present_s": 0.1234, "ratio": None})
    (tmp_path / "compare_builds.json").write_text(json.dumps(known | builds | {"rows": rows}))
    page = figures(tmp_path)
    counts = "6 of 1000 | 50 of 5000 | 48 | 0.4 | 45 | 100, 99"
    assert f"| shipped | 1.90 | 48% | 38% | 0.9971 | {counts} | 0.9225, 0.9229 |" in page
    assert "| five members | 1.800 | 0.900 | 2.00 | 1.91 |" in page
    assert "| new | - | 0.123 | - | - |" in page
