"""Masks that are decided before the end of their chain."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from builders import tiny_recipe
from napari_diffseg.diffusion.step import Step
from napari_diffseg.events import Expected, Finished, Sampled, SegmentRequest, Started, Stepped
from napari_diffseg.networks.fast_unet import FastUNet
from napari_diffseg.segmenting import early_stop as early_stop_module
from napari_diffseg.segmenting.early_stop import EarlyStop
from napari_diffseg.segmenting.segmenter import LocalSegmenter

STEPS = 8


def step(*rows, index=0):
    """A step of rows each of which predicts one value everywhere, or a plane."""
    x0 = torch.stack([torch.as_tensor(row, dtype=torch.float32).expand(1, 2, 2) for row in rows])
    return Step(index, index, x0 + 0.001, x0)


def early_stop(rows, steps=STEPS, **changes):
    return EarlyStop(tiny_recipe(**{"mask_low": 0.0, **changes}), steps=steps, rows=rows)


def test_a_row_whose_estimate_is_nowhere_likely_is_empty_after_one_step():
    early = early_stop(2)
    seen = early.see(step(0.01, 0.03))
    assert early.narrow().tolist() == [1]
    assert seen.x[0].max() == 0.0
    assert seen.x[1].max() == pytest.approx(0.031)


def test_a_row_of_which_a_later_step_expects_nothing_is_empty_from_there():
    early = early_stop(2)
    early.see(step(0.3, 0.3))
    assert early.narrow() is None
    seen = early.see(step(0.01, 0.3))
    assert early.narrow().tolist() == [1]
    assert early.left_empty == 1
    assert seen.x[0].max() == seen.x0[0].max() == 0.0


def grown(pixels, *, inner=0):
    """A step of one row of 10 x 30 pixels and two regions, of which the first so many pixels are marked."""
    x0 = torch.full((1, 2, 300), 0.3)
    x0[0, 0, :pixels] = 0.9
    x0[0, 1, :inner] = 0.9
    return Step(0, 0, x0.view(1, 2, 10, 30), x0.view(1, 2, 10, 30))


def stops_after(steps):
    """How many steps a chain takes; each is taken if the ones before did not decide."""
    early = EarlyStop(tiny_recipe(mask_low=0.0), steps=len(steps), rows=1)
    for n, taken in enumerate(steps, start=1):
        early.see(taken)
        if early.narrow() is not None:
            assert early.left_empty == 0
            return n
    return len(steps)


def test_a_mask_that_stays_for_a_fifth_of_the_chain_is_final_and_one_that_creeps_is_not():
    assert stops_after([grown(n) for n in (50, 120, 200, 200, 200, 260, 260, 260, 260, 260)]) == 5
    assert stops_after([grown(n) for n in (50, 120, 200, 201, 202, 203, 204, 205, 206, 207)]) == 10
    assert stops_after([grown(200)] * 50) == 16, "not within the first 30 %"


def test_every_region_has_to_stay():
    assert stops_after([grown(200, inner=n) for n in (5, 5, 5, 6, 7, 8, 9, 9, 9, 9)]) == 9


def test_a_mask_that_is_final_is_what_is_predicted_then():
    early = EarlyStop(tiny_recipe(mask_low=0.0), steps=10, rows=1)
    for _ in range(4):
        now = grown(200)
        seen = early.see(replace(now, x=now.x0 + 0.3))
    assert early.narrow().tolist() == []
    np.testing.assert_array_equal(seen.x, grown(200).x0)
    np.testing.assert_array_equal(seen.x0, seen.x)


def test_a_network_that_predicts_epsilon_has_no_estimate_to_go_by():
    early = early_stop(1, prediction="epsilon")
    early.see(step(0.0))
    assert early.narrow() is None


def test_a_mask_that_stays_is_final_but_not_early_in_the_chain():
    early = early_stop(1)
    seen = []
    for _ in range(3):  # more than 30 % of 8 steps
        early.see(step(0.2))  # no mask yet, and it stays that way
        seen.append(early.narrow())
    assert seen[:2] == [None, None]
    assert seen[2].tolist() == []


def test_an_empty_mask_is_not_final_while_a_lesion_may_still_come():
    assert stops_after([grown(0)] * 10) == 10, "0.3 everywhere"
    assert stops_after([step(0.29)] * 10) == 4


def test_a_mask_that_changes_goes_on_to_the_end():
    early = early_stop(1)
    for n in range(STEPS):
        seen = early.see(step(0.9 if n % 2 else 0.3))
        assert early.narrow() is None
    assert seen.x.max() == pytest.approx(0.901)


def test_a_decided_row_keeps_its_mask_while_others_go_on_in_their_places():
    early = early_stop(3)
    early.see(step(0.9, 0.0, 0.5))
    assert early.narrow().tolist() == [0, 2]
    seen = early.see(step(0.8, 0.7))
    np.testing.assert_allclose(seen.x[:, 0, 0, 0], [0.801, 0.0, 0.701], atol=1e-6)


def test_rows_that_leave_the_batch_late_are_decided_as_those_that_leave_at_once():
    rng = np.random.default_rng(0)
    chains = rng.random((STEPS, 6)).round(1)
    chains[:, :3] = chains[0, :3]

    def run(every):
        early, left, last = (
            EarlyStop(tiny_recipe(mask_low=0.0), steps=STEPS, rows=6, every=every),
            list(range(6)),
            None,
        )
        for values in chains:
            last = early.see(step(*values[left]))
            if (kept := early.narrow()) is not None:
                left = [left[i] for i in kept]
            if not left:
                break
        return last.x

    torch.testing.assert_close(run(1), run(4))


@pytest.fixture
def unsure(tiny_checkpoint, monkeypatch):
    """A network whose estimates lie about a half, and a bound that some of its slices stay below."""
    monkeypatch.setattr(early_stop_module, "EMPTY_BELOW", 0.66)
    state = {k: v * (0.1 if k.startswith("out.2") else 1.0) for k, v in tiny_checkpoint.state.items()}
    return replace(tiny_checkpoint, state=state)


def masks(checkpoint, case, **request):
    found = {}
    for event in LocalSegmenter(checkpoint, preview_interval_s=0).segment(case, SegmentRequest(**request)):
        if isinstance(event, Sampled):
            for s, mask in zip(event.slices, np.moveaxis(event.mask, 1, 0), strict=True):
                found[event.member, s] = mask
        elif isinstance(event, Finished):
            found["finished"] = event
    return found


@pytest.mark.parametrize(("sampler", "mirror"), [("ddpm", False), ("ddim", False), ("dpmpp", False), ("dpmpp", True)])
def test_a_member_that_stops_early_is_the_same_alone_and_in_a_batch(unsure, tiny_case, sampler, mirror):
    unsure = replace(unsure, recipe=unsure.recipe.model_copy(update={"mirror": mirror}))
    request = {"stop_early": "on", "sampler": sampler, "timesteps": STEPS, "eta": 0.5 if sampler == "ddim" else 0.0}
    together = masks(unsure, tiny_case, members=3, **request)
    alone = masks(unsure, tiny_case, members=1, first_member=2, batch_size=1, **request)
    assert 0 < together["finished"].unneeded < 3 * 4 * (STEPS - 1)
    for key in alone.keys() - {"finished"}:
        np.testing.assert_array_equal(alone[key], together[key])


def test_the_next_members_first_evaluation_is_made_once(unsure, tiny_case, monkeypatch):
    mirrored = replace(unsure, recipe=unsure.recipe.model_copy(update={"mirror": True}))
    rows, predict = [], FastUNet.conditioned_on

    def counting(network, image):
        evaluate = predict(network, image)
        return lambda x_t, timestep: rows.append(len(x_t)) or evaluate(x_t, timestep)

    monkeypatch.setattr(FastUNet, "conditioned_on", counting)
    for members, expected in ((1, 4 * STEPS + 4), (2, 2 * 4 * STEPS), (3, 3 * 4 * STEPS)):
        rows.clear()
        request = SegmentRequest(members=members, timesteps=STEPS, stop_early="off", batch_size=4)
        list(LocalSegmenter(mirrored, preview_interval_s=None).segment(tiny_case, request))
        assert sum(rows) == expected, f"{members} members of 4 slices; one alone needs the other view as well"


def test_what_is_left_out_is_counted_by_reason_and_progress_comes_to_its_end(unsure, tiny_case):
    events = list(
        LocalSegmenter(unsure).segment(
            tiny_case, SegmentRequest(stop_early="on", timesteps=STEPS, members=2, threads=1)
        )
    )
    started, finished = events[0], events[-1]
    done = [event.done for event in events if isinstance(event, Stepped)]
    assert isinstance(started, Started)
    assert all(a < b for a, b in pairwise(done))
    assert 0 < finished.unneeded_empty == finished.unneeded < started.evaluations
    sure = replace(unsure, state=unsure.state | {"out.2.bias": unsure.state["out.2.bias"] + 0.5})
    finished = masks(sure, tiny_case, members=2, stop_early="on", timesteps=STEPS)["finished"]
    assert finished.unneeded_empty == 0 < finished.unneeded < started.evaluations, "lesion everywhere, and it stays"
    assert masks(unsure, tiny_case, members=2, timesteps=STEPS)["finished"].unneeded == 0


def test_why_steps_were_left_out_is_told():
    finished = Finished("r", (0, 1), 1.0, 8, unneeded=40, unneeded_empty=30)
    expected = "50% of the steps were left out: 38% where no lesion was expected, 12% where masks no longer changed."
    assert finished.describe_left_out(80) == expected
    assert (
        replace(finished, unneeded_empty=40).describe_left_out(80).endswith("left out, where no lesion was expected.")
    )
    assert replace(finished, unneeded=0, unneeded_empty=0).describe_left_out(80) == ""


def test_a_run_all_of_whose_slices_are_decided_at_once_ends(unsure, tiny_case, monkeypatch):
    monkeypatch.setattr(early_stop_module, "EMPTY_BELOW", 1.1)
    found = masks(unsure, tiny_case, members=2, stop_early="on", timesteps=STEPS)
    finished = found.pop("finished")
    assert finished.unneeded == finished.unneeded_empty == 2 * 4 * (STEPS - 1)
    assert not any(mask.any() for mask in found.values())


def test_a_run_of_a_later_member_says_what_it_expects_on_every_slice(unsure, tiny_case, monkeypatch):
    monkeypatch.setattr(early_stop_module, "EMPTY_BELOW", 1.1)
    request = SegmentRequest(first_member=5, members=2, stop_early="on", timesteps=STEPS, batch_size=4)
    events = list(LocalSegmenter(unsure, preview_interval_s=None).segment(tiny_case, request))
    assert [s for event in events if isinstance(event, Expected) for s in event.slices] == [*events[0].sampled]
    assert events[-1].unneeded == 4 * 2 * (STEPS - 1)


def test_the_way_of_a_slice_ends_in_the_masks_of_its_run(unsure, tiny_case):
    request = SegmentRequest(members=3, stop_early="on", timesteps=STEPS, slices="1:3")
    ran = masks(unsure, tiny_case, **request.model_dump(exclude={"first_member"}, exclude_defaults=True))
    last, steps = {}, set()
    for traced in LocalSegmenter(unsure).trace(tiny_case, request):
        last.update(zip(traced.rows, traced.mask, strict=True))
        steps.add(traced.step)
    assert steps == set(range(1, STEPS + 1))
    assert last.keys() == ran.keys() - {"finished"}
    for key, mask in last.items():
        np.testing.assert_array_equal(mask, ran[key][0])
