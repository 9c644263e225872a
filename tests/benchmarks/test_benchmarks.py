"""The benchmarks' own arithmetic: what they sample is what the engine samples, and what they count is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from baseline_training import Arm, Budget, OutOfTime, Slices, vary
from cells import Budget as Time
from cells import Cells
from exact_sampler import parted
from held_out import READERS, HeldOut, held_out, phantom_case, reader_slices
from sampling import Chain, Model
from sampling_steps import _fewest
from scoring import score, summary
from tables import PAGE

from builders import tiny_config, tiny_recipe, write_tiny_checkpoint
from napari_diffseg.checkpoint import load_checkpoint
from napari_diffseg.events import Sampled, SegmentRequest
from napari_diffseg.segmenting.segmenter import LocalSegmenter
from napari_diffseg.synthesis.phantom import PhantomSettings, make_phantom


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return load_checkpoint(write_tiny_checkpoint(tmp_path_factory.mktemp("checkpoint") / "tiny.safetensors"))


@pytest.fixture(scope="module")
def subject(checkpoint) -> HeldOut:
    return next(held_out(checkpoint.recipe, count=1, every=13))


@pytest.fixture
def model(checkpoint):
    return Model(checkpoint.network(), checkpoint.recipe, torch.device("cpu"), "tiny", 8)


def test_members_are_those_of_the_engine(checkpoint, subject, model, tmp_path):
    mine = model.members(subject, Chain("ddim", 2), 3, cells=Cells(tmp_path), budget=Time(None))
    settings = PhantomSettings(seed=900_000, shape=(120, 120, 39), spacing_mm=(2.0, 2.0, 4.0), readers=16)
    case = phantom_case(make_phantom(replace(settings, randomise=0.15, artefacts=0.6)), "one")
    first = subject.slices[0]
    request = SegmentRequest(members=3, sampler="ddim", timesteps=2, slices=f"{first}:{first + 1}", device="cpu")
    events = LocalSegmenter(checkpoint, preview_interval_s=None).segment(case, request)
    theirs = {e.member: e.mask[0, 0] for e in events if isinstance(e, Sampled)}
    assert mine.any()
    for k in range(3):
        # A network's sums differ in their last digits between batch sizes.
        assert (mine[k, 0] != theirs[k]).mean() < 1e-3


def test_a_stopped_benchmark_computes_no_member_twice(subject, model, tmp_path):
    cells, chain = Cells(tmp_path), Chain("ddpm", 2)
    two = model.members(subject, chain, 2, cells=cells, budget=Time(None))
    assert model.missing_rows(subject, chain, 3, cells=cells) == len(subject.slices) * 2

    def broken(*_: torch.Tensor) -> torch.Tensor:
        raise AssertionError("evaluated again")

    again = replace(model, network=broken).members(subject, chain, 2, cells=cells, budget=Time(None))
    np.testing.assert_array_equal(again, two)


def test_a_shifted_start_costs_one_evaluation_more(subject, model, tmp_path):
    time = Time(None)
    chain = Chain("dpmpp", 2, shifted=True)
    model.members(subject, chain, 1, cells=Cells(tmp_path), budget=time)
    assert chain.evaluations == 3
    assert time.estimate(1) > 0


def test_other_contrasts_are_other_images_of_the_same_lesion(checkpoint, subject):
    other = next(held_out(checkpoint.recipe, count=1, every=13, randomise=0.8))
    assert other.digest != subject.digest
    np.testing.assert_array_equal(other.truth, subject.truth)


def test_the_readers_themselves_are_a_perfect_ensemble(subject):
    perfect = summary([score(subject, subject.readers, mean=subject.probability)])
    assert perfect["ged2"] == 0
    assert perfect["hm_iou"] == perfect["dice"] == 1
    assert perfect["ece"] < 1e-6
    assert perfect["auroc"] is None


def test_an_empty_ensemble_misses_all_that_readers_see(subject):
    nothing = np.zeros((5, *subject.probability.shape), bool)
    figures = summary([score(subject, nothing)])
    assert figures["dice"] == 0
    assert figures["ece"] == pytest.approx(subject.probability[subject.brain].mean(), abs=1e-5)


def test_readers_were_drawn_by_the_probability_that_is_told(subject):
    share = subject.readers.mean(axis=0)
    assert subject.truth.any()
    assert abs(share - subject.probability)[subject.near].mean() < 0.1
    assert not subject.readers[:, ~subject.brain].any()


def test_the_fewest_steps_stay_near_the_longest_chain():
    def row(steps, dice):
        return {"sampler": "ddim", "steps": steps, "dice": dice, "ece": 0.01}

    rows = [row(2, 0.90), row(5, 0.70), row(10, 0.897), row(20, 0.901), row(50, 0.90)]
    assert _fewest(rows) == {"ddim": {"of": 50, "fewest": 10}}


@pytest.mark.parametrize("kind", ["plain", "diffusion"])
def test_a_stopped_training_ends_with_the_same_weights(kind, tmp_path, monkeypatch):
    recipe = tiny_recipe(prediction="x0", variance="fixed_small", mask_low=-1.0, mask_high=1.0)
    config = replace(tiny_config(), in_channels=5 if kind == "diffusion" else 4)
    rng = np.random.default_rng(0)
    slices = Slices(rng.random((6, 4, 32, 32)).astype(np.float16), (rng.random((6, 2, 32, 32)) > 0.5).astype(np.uint8))
    budget = Budget(4, batch=2, save_every=2)

    def arm() -> Arm:
        return Arm(kind, config, recipe, budget=budget, seed=3)

    whole = arm().train(slices, tmp_path / "whole.pt", name="whole").state_dict()
    step = Arm._train_step

    def stops(self, slices):
        if self.step == 3:
            raise KeyboardInterrupt
        return step(self, slices)

    monkeypatch.setattr(Arm, "_train_step", stops)
    with pytest.raises(KeyboardInterrupt):
        arm().train(slices, tmp_path / "stopped.pt", name="stopped")
    monkeypatch.setattr(Arm, "_train_step", step)
    stopped = arm().train(slices, tmp_path / "stopped.pt", name="stopped").state_dict()
    for name, weights in whole.items():
        assert torch.equal(weights, stopped[name]), name


def test_a_training_out_of_time_keeps_its_step_and_goes_on(tmp_path):
    slices = Slices(np.ones((2, 4, 32, 32), np.float16), np.ones((2, 1, 32, 32), np.uint8))
    config = replace(tiny_config(), in_channels=4)

    def arm() -> Arm:
        return Arm("plain", config, tiny_recipe(), budget=Budget(3, batch=2), seed=0)

    with pytest.raises(OutOfTime, match="after step 1"):
        arm().train(slices, tmp_path / "a.pt", name="a", until=0.0)
    going_on = arm()
    going_on.train(slices, tmp_path / "a.pt", name="a")
    assert torch.load(tmp_path / "a.pt", weights_only=True)["step"] == going_on.step == 3


def test_variety_leaves_the_background_and_one_modality():
    image = torch.rand(16, 4, 8, 8) + 0.1
    image[..., :2, :] = 0
    mask = torch.zeros(16, 1, 8, 8)
    changed, same = vary(image, mask, generator=torch.Generator().manual_seed(0), missing=1.0)
    assert not changed[..., :2, :].any()
    assert ((changed != 0).any(dim=(2, 3)).sum(dim=1) == 1).all()
    assert torch.equal(same, mask)


def test_slices_to_train_on_hold_what_four_readers_drew():
    recipe = tiny_recipe(size=(32, 32), spacing_mm=7.0, centre="brain")
    images, masks = reader_slices(recipe, seed=1000, every=4)
    assert images.shape == masks.shape == (len(images), 4, 32, 32)
    assert (images > 0).mean() > 0.2
    assert set(np.unique(masks)) == {0, 1}


def test_the_page_says_what_the_results_say():
    assert PAGE.path.read_text("utf-8") == PAGE.made()


def test_a_page_without_marks_is_refused():
    with pytest.raises(SystemExit, match="put them back"):
        PAGE.put("no marks", "text")
    assert PAGE.put(f"a {PAGE.begin} old {PAGE.end} z", "new") == f"a {PAGE.begin}\n\nnew\n{PAGE.end} z"


def test_an_exact_sampler_comes_nearer_to_the_readers_with_every_member(checkpoint):
    [(subject, masks)] = parted(held_out(checkpoint.recipe, count=1, every=4, readers=READERS + 20))
    assert (len(subject.readers), len(masks)) == (READERS, 20)
    scores = [score(subject, masks[:n]) for n in (1, 5, 20)]
    assert scores[0].figures["ged2"] > scores[1].figures["ged2"] > scores[2].figures["ged2"] > 0
    assert scores[0].curves["ece"].ece > scores[2].curves["ece"].ece
