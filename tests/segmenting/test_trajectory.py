"""The way through the denoising steps: when a pixel is decided, what is kept, and that it ends where the run ended."""

from dataclasses import replace

import numpy as np
import pytest

from napari_diffseg.errors import RunFailed
from napari_diffseg.events import Sampled, SegmentRequest
from napari_diffseg.segmenting import run as run_module
from napari_diffseg.segmenting.segmenter import LocalSegmenter
from napari_diffseg.segmenting.trajectory import Traced, record_trajectory, steps_kept

# One row of five pixels over four steps: never lesion; always; from step 3 on; on and off; lost at the last step.
EVIDENCE = np.array(
    [
        [0.1, 0.9, 0.2, 0.8, 0.7],
        [0.0, 0.8, 0.4, 0.3, 0.9],
        [0.2, 0.9, 0.6, 0.7, 0.8],
        [0.0, 1.0, 1.0, 0.1, 0.2],
    ],
    np.float32,
)
DECIDED = [1, 1, 3, 4, 4]
SHOWN = [np.nan, 1, 3, 4, 4]


def traced(evidence, *, rows=((0, 7),)):
    """The steps of some rows that all predict the same."""
    for n, line in enumerate(evidence, start=1):
        plane = np.repeat(line[None, None], len(rows), axis=0)
        yield Traced(n, len(evidence), 1000 - n, rows, plane, plane > 0.5)


def test_a_pixel_is_decided_at_the_step_from_which_its_mask_stays_by_hand():
    found = record_trajectory(traced(EVIDENCE), members=(0,), slice_index=7)
    np.testing.assert_array_equal(found.decided[0, 0], DECIDED)
    np.testing.assert_array_equal(found.decided_at()[0], SHOWN)
    np.testing.assert_array_equal(found.final[0, 0], [False, True, True, False, False])
    assert (found.kept, found.timesteps) == ((1, 2, 3, 4), (999, 998, 997, 996))
    np.testing.assert_allclose(found.evidence[:, 0, 0], EVIDENCE, atol=1e-3)


def test_with_several_members_the_maps_are_means_and_other_slices_are_left_out():
    late = EVIDENCE[::-1]  # decided at 1, 1, 3, 4, 2
    events = [*traced(EVIDENCE, rows=((4, 7), (4, 8))), *traced(late, rows=((6, 7),))]
    found = record_trajectory(events, members=(4, 6), slice_index=7)
    np.testing.assert_array_equal(found.decided[1, 0], [1, 1, 3, 4, 2])
    np.testing.assert_array_equal(found.decided_at()[0], [np.nan, 1, 3, 4, 3])
    np.testing.assert_allclose(found.prediction(0)[0], (EVIDENCE[0] + late[0]) / 2, atol=1e-3)
    np.testing.assert_array_equal(found.decided_at(member=6)[0], [np.nan, 1, 3, 4, 2])
    np.testing.assert_allclose(found.prediction(3, member=6)[0], EVIDENCE[0], atol=1e-3)


def test_a_small_budget_keeps_every_second_step_and_the_last_and_decides_from_all():
    found = record_trajectory(traced(EVIDENCE), members=(0,), slice_index=7, budget_bytes=2 * 5 * 2)
    assert (found.kept, found.timesteps) == ((2, 4), (998, 996))
    assert found.evidence.nbytes <= 2 * 5 * 2
    np.testing.assert_array_equal(found.decided[0, 0], DECIDED)


@pytest.mark.parametrize(
    ("steps", "most", "kept"), [(4, 9, (1, 2, 3, 4)), (10, 4, (1, 4, 7, 10)), (5, 1, (5,)), (7, 3, (1, 4, 7))]
)
def test_kept_steps_are_equally_spaced_and_end_with_the_last(steps, most, kept):
    assert steps_kept(steps, most=most) == kept


def test_of_a_slice_that_nothing_is_sampled_on_there_is_no_trajectory():
    assert record_trajectory([], members=(0,), slice_index=7) is None


@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "dpmpp"])
def test_a_trajectory_ends_at_the_masks_that_the_run_gave(tiny_checkpoint, tiny_case, sampler):
    segmenter = LocalSegmenter(tiny_checkpoint, preview_interval_s=None)
    request = SegmentRequest(device="cpu", members=3, sampler=sampler, batch_size=2, slices="2:3")
    run = {e.member: e.mask[0, 0] for e in segmenter.segment(tiny_case, request) if isinstance(e, Sampled)}
    found = record_trajectory(segmenter.trace(tiny_case, request), members=(0, 1, 2), slice_index=2)
    assert found.steps == 4
    np.testing.assert_array_equal(found.final, [run[k] for k in range(3)])
    last = found.evidence[-1]
    told = last != 0.5  # what is a little above one half is one half in float16
    assert told.mean() > 0.95
    np.testing.assert_array_equal(last[told] > 0.5, found.final[told])
    assert len(np.unique(found.decided)) > 1


def test_a_trace_on_numbers_that_are_not_finite_fails_in_a_sentence(tiny_checkpoint, tiny_case, monkeypatch):
    original = run_module.chain

    def broken(run, batch, *rest):
        for step, *counts in original(run, batch):
            yield replace(step, x0=step.x0 * float("nan")), *counts

    monkeypatch.setattr("napari_diffseg.segmenting.tracing.chain", broken)
    request = SegmentRequest(device="cpu", members=1, slices="2:3")
    with pytest.raises(RunFailed, match="not finite"):
        list(LocalSegmenter(tiny_checkpoint).trace(tiny_case, request))
