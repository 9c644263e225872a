"""Which files load, what they load as, and what is said to be guessed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from builders import PAPER_NETWORK, write_tiny_checkpoint
from napari_diffseg.checkpoint import load_checkpoint
from napari_diffseg.errors import BadCheckpoint, BadRecipe
from napari_diffseg.networks.config import UNetConfig
from napari_diffseg.networks.unet import UNet
from napari_diffseg.recipe import PAPER

GOLDEN = Path(__file__).parents[1] / "data" / "golden"
SHARED_GOLDEN = Path(__file__).parents[3] / "shared" / "golden"


def guessed_names(checkpoint):
    return {line.partition(" = ")[0] for line in checkpoint.guesses}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_a_state_dict_of_the_original_code_loads_with_no_overrides_as_the_papers():
    checkpoint = load_checkpoint(GOLDEN / "plain.pt")
    assert checkpoint.kind == "state dict"
    assert checkpoint.recipe == PAPER.model_copy(update={"title": "plain"})
    assert checkpoint.config == UNetConfig(
        in_channels=5,
        model_channels=32,
        out_channels=2,
        num_res_blocks=1,
        attention_factors=(2,),
        channel_mult=(1, 2),
    )
    assert same(checkpoint.state, torch.load(GOLDEN / "plain.pt", weights_only=True))


@pytest.mark.skipif(not SHARED_GOLDEN.is_dir(), reason="needs ../shared/golden")
def test_other_architectures_need_only_what_a_state_dict_cannot_say():
    film = load_checkpoint(SHARED_GOLDEN / "film_heads.pt", num_heads=4)
    assert film.config.scale_shift_norm
    assert film.config.resblock_updown
    assert film.config.num_heads == 4
    order = load_checkpoint(
        SHARED_GOLDEN / "neworder.pt", modalities=("t1", "flair"), num_head_channels=16, new_attention_order=True
    )
    assert order.config.num_head_channels == 16
    assert order.recipe.variance == "fixed_large"
    assert "variance" in guessed_names(order)


def test_the_network_has_the_weights_in_float32_and_is_ready_to_sample(save_state, state):
    halves = {name: value.half() for name, value in state.items()}
    checkpoint = load_checkpoint(save_state(halves))
    network = checkpoint.network()
    assert not network.training
    assert not any(p.requires_grad for p in network.parameters())
    assert same(network.state_dict(), {name: value.float() for name, value in halves.items()})


def test_changing_the_network_leaves_the_checkpoint_as_it_is(save_state, state):
    checkpoint = load_checkpoint(save_state())
    for parameter in checkpoint.network().parameters():
        parameter.zero_()
    assert same(checkpoint.state, state)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_weights_are_kept_in_the_files_own_dtype(save_state, state, dtype):
    stored = {name: value.to(dtype) for name, value in state.items()}
    assert same(load_checkpoint(save_state(stored)).state, stored)


def test_every_guess_is_a_line_and_an_override_removes_it(save_state):
    path = save_state()
    before = guessed_names(load_checkpoint(path))
    assert {
        "num_heads",
        "new_attention_order",
        "schedule",
        "train_timesteps",
        "rescale_timesteps",
        "mask_low",
        "mask_high",
        "normalisation",
        "modalities",
        "axis_codes",
        "sampler",
    } <= before
    settled = {
        "num_heads": 2,
        "new_attention_order": "true",
        "schedule": "cosine",
        "mask_low": "-1",
        "normalisation": "zscore",
        "size": ["64", "48"],
    }
    checkpoint = load_checkpoint(path, **settled)
    assert guessed_names(checkpoint) == before - {*settled, "percentile"}  # which zscore does not use
    assert checkpoint.config.num_heads == 2
    assert checkpoint.config.new_attention_order is True
    assert checkpoint.recipe.schedule == "cosine"
    assert checkpoint.recipe.mask_low == -1
    assert checkpoint.recipe.size == (64, 48)


def test_the_channels_of_a_head_settle_the_number_of_heads(save_state):
    checkpoint = load_checkpoint(save_state(), num_head_channels=16)
    assert checkpoint.config.heads(32) == 2
    assert "num_heads" not in guessed_names(checkpoint)


def test_fewer_timesteps_of_training_bring_fewer_steps_of_sampling(save_state):
    assert load_checkpoint(save_state(), train_timesteps="100").recipe.timesteps == 100


@pytest.mark.parametrize(
    ("name", "said"),
    [("savedmodel060000.pt", True), ("model060000.pt", True), ("emasavedmodel_0.9999_060000.pt", False)],
)
def test_a_file_that_is_not_the_average_says_so(save_state, name, said):
    guesses = load_checkpoint(save_state(name=name)).guesses
    assert any("not the EMA" in line for line in guesses) == said


def network_of(in_channels, out_channels):
    return UNet(
        UNetConfig(
            in_channels=in_channels,
            model_channels=32,
            out_channels=out_channels,
            num_res_blocks=1,
            attention_factors=(),
            channel_mult=(1, 1),
        )
    ).state_dict()


def test_another_number_of_modalities_must_be_named(save_state):
    path = save_state(network_of(3, 1))
    with pytest.raises(BadCheckpoint, match=r"2 image channels.*name the modalities"):
        load_checkpoint(path)
    checkpoint = load_checkpoint(path, modalities=["t1", "flair"])
    assert checkpoint.recipe.modalities == ("t1", "flair")
    assert checkpoint.recipe.variance == "fixed_large"


def test_several_labels_must_be_named(save_state):
    path = save_state(network_of(7, 6))
    with pytest.raises(BadCheckpoint, match="recipe's labels"):
        load_checkpoint(path, modalities=["t1", "t1ce", "t2", "flair"])
    checkpoint = load_checkpoint(path, labels=["core", "oedema", "enhancing"])
    assert checkpoint.recipe.modalities == PAPER.modalities
    assert checkpoint.recipe.variance == "learned_range"


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"modalities": ["t1"], "labels": ["a"]}, "the network takes 5"),
        ({"variance": "fixed_small"}, "the network gives 2"),
        ({"size": (15, 16)}, "multiples of 2"),
        ({"scheduler": "linear"}, "scheduler"),
        ({"schedule": "square"}, "schedule"),
        ({"num_heads": 3}, "num_heads"),
        ({"num_heads": "many"}, "num_heads"),
        ({"new_attention_order": "perhaps"}, "new_attention_order"),
        ({"modalities": "t1,flair"}, "list"),
    ],
)
def test_an_override_that_cannot_be_is_refused_by_name(save_state, overrides, said):
    with pytest.raises(BadRecipe, match=said):
        load_checkpoint(save_state(), **overrides)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod."])
def test_prefixes_of_wrappers_are_removed_and_reported(save_state, state, prefix):
    checkpoint = load_checkpoint(save_state({prefix + name: value for name, value in state.items()}))
    assert same(checkpoint.state, state)
    assert f"the prefix {prefix!r} was removed from all names" in checkpoint.guesses


@pytest.mark.parametrize("nest", ["state_dict", "model", "model_state_dict", "network"])
def test_weights_are_found_in_the_nests_of_training_checkpoints(save_state, state, nest):
    checkpoint = load_checkpoint(save_state({"epoch": 3, "loss": 0.5, nest: state, "optimizer": {"param_groups": []}}))
    assert same(checkpoint.state, state)
    assert any(f"under '{nest}'" in line and "'epoch'" in line for line in checkpoint.guesses)


def test_the_average_is_preferred_to_the_weights(save_state, state):
    average = {name: value + 1 for name, value in state.items()}
    checkpoint = load_checkpoint(save_state({"model": state, "ema": average, "step": 7}))
    assert same(checkpoint.state, average)
    assert any("(EMA) under 'ema'" in line and "'model'" in line for line in checkpoint.guesses)


def test_parameters_and_other_orders_of_memory_load_as_plain_tensors(save_state, state):
    saved = {
        name: torch.nn.Parameter(value.to(memory_format=torch.channels_last) if value.ndim == 4 else value)
        for name, value in state.items()
    }
    checkpoint = load_checkpoint(save_state(saved))
    assert same(checkpoint.state, state)
    assert all(tensor.is_contiguous() for tensor in checkpoint.state.values())


def test_tensors_that_are_parts_of_one_storage_load(save_state, state):
    flat = torch.cat([value.flatten() for value in state.values()])
    parts = flat.split([value.numel() for value in state.values()])
    saved = {name: part.view(value.shape) for (name, value), part in zip(state.items(), parts, strict=True)}
    assert same(load_checkpoint(save_state(saved)).state, state)


def test_safetensors_without_our_recipe_are_a_state_dict(tmp_path, state):
    save_file({f"module.{name}": value for name, value in state.items()}, tmp_path / "model.safetensors")
    checkpoint = load_checkpoint(tmp_path / "model.safetensors")
    assert checkpoint.kind == "state dict"
    assert same(checkpoint.state, state)
    assert "num_heads" in guessed_names(checkpoint)


def test_the_first_bytes_say_what_a_file_is_not_its_name(tmp_path, save_state, state):
    path = save_state(name="weights.safetensors")
    assert same(load_checkpoint(path).state, state)


@pytest.mark.slow
def test_a_checkpoint_of_the_papers_size_loads(tmp_path):
    with torch.device("meta"):
        shapes = {name: value.shape for name, value in UNet(PAPER_NETWORK).state_dict().items()}
    saved = {name: torch.randn(shape).half() for name, shape in shapes.items()}
    torch.save(saved, tmp_path / "emasavedmodel_0.9999_060000.pt")
    checkpoint = load_checkpoint(tmp_path / "emasavedmodel_0.9999_060000.pt")
    assert checkpoint.parameters == 113_674_370
    assert len(checkpoint.state) == 426
    assert checkpoint.config == PAPER_NETWORK
    assert same(checkpoint.state, saved)
    assert sum(p.numel() for p in checkpoint.network().parameters()) == 113_674_370


def test_what_was_said_of_it_is_kept_as_it_was_taken_in_values_that_json_holds(tmp_path):
    path = write_tiny_checkpoint(tmp_path / "tiny.safetensors")
    loaded = load_checkpoint(path, train_timesteps=np.int64(8), timesteps=np.int64(4), clip=("-2", "2"), num_heads=1)
    assert json.loads(json.dumps(loaded.overrides)) == loaded.overrides
    assert loaded.overrides == {"train_timesteps": 8, "timesteps": 4, "clip": [-2.0, 2.0], "num_heads": 1}
    assert not load_checkpoint(path).overrides
