"""Which family a file is of, after whatever prefix, and what is said of those that cannot be used."""

from __future__ import annotations

import collections

import numpy as np
import pytest
import torch

from napari_diffseg.checkpoint import load_checkpoint
from refusals import refused

THREE_D = {"input_blocks.0.0.weight": torch.zeros(29, 8, 3, 3, 3), "time_embed.0.weight": torch.zeros(116, 29)}


def named(*names, **tensors):
    return {name: torch.zeros(2, 2) for name in names} | tensors


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


FOREIGN = {
    "MedSegDiff, version 1: .*random weights": ("input_blocks.0.0.weight", "hwm.conv_trans_blocks_a.0.weight"),
    "SegDiff: ": ("input_blocks.0.0.weight", "rrdb.conv_first.weight", "rrdb.RRDB_trunk.0.RDB1.conv1.weight"),
    "with classes: .*diffusion-anomaly": ("input_blocks.0.0.weight", "label_emb.weight"),
    "Diff-UNet: .*whole volumes": (
        "embed_model.conv_0.conv_0.conv.weight",
        "model.temb.dense.0.weight",
        "model.final_conv.weight",
    ),
    "med-seg-diff-pytorch": ("cond_init_conv.weight", "time_mlp.1.weight", "conditioners.0.ff_parser_attn_map"),
    "denoising-diffusion-pytorch": ("init_conv.weight", "time_mlp.1.weight", "downs.0.0.block1.proj.weight"),
    "nnU-Net: .*without diffusion": ("encoder.stages.0.0.convs.0.conv.weight", "decoder.seg_layers.0.weight"),
    "nnU-Net, version 1": ("conv_blocks_context.0.blocks.0.conv.weight", "seg_outputs.0.weight"),
    "Swin UNETR": ("swinViT.patch_embed.proj.weight", "encoder1.layer.conv1.conv.weight"),
    "AutoencoderKL": ("quant_conv_mu.conv.weight", "post_quant_conv.conv.weight"),
    "Stable Diffusion": (
        "conv_in.weight",
        "down_blocks.0.resnets.0.norm1.weight",
        "mid_block.attentions.0.transformer_blocks.0.norm1.weight",
    ),
}


@pytest.mark.parametrize("prefix", ["", "module.", "net.module."])
@pytest.mark.parametrize(("said", "names"), FOREIGN.items(), ids=[name[0] for name in FOREIGN.values()])
def test_a_family_that_cannot_be_used_is_refused_by_its_name_with_the_reason(save_state, said, names, prefix):
    refused(save_state(named(*(prefix + name for name in names))), f"it is .*{said}")


def test_a_network_of_volumes_is_told_by_its_first_convolution(save_state):
    refused(save_state(named(**THREE_D)), "PatchDDM or another 3-D network.*only slices")


def test_what_no_family_has_is_said_with_the_families_that_can_be_used(save_state):
    text = refused(save_state(named("a.weight", "b.weight")), r"2 tensors \(a\.weight, b\.weight\)")
    assert "MONAI" in text
    assert "diffusers" in text


def test_a_latent_model_is_refused_for_its_autoencoder(save_state, state):
    saved = {f"model.diffusion_model.{name}": value for name, value in state.items()}
    saved |= named("first_stage_model.encoder.conv_in.weight")
    refused(save_state({"state_dict": saved}), "latent diffusion model")


class Trainer(collections.UserDict):
    """What training code likes to save beside the weights: an object of its own."""


def test_a_file_with_objects_in_it_is_still_told_by_its_names(save_state, state):
    text = refused(save_state({"state_dict": state, "trainer": Trainer()}), "guided-diffusion.*Python code")
    assert "Trainer" in text
    names = FOREIGN["nnU-Net: .*without diffusion"]
    saved = {"network_weights": named(*names), "logging": {"loss": np.float64(0.5)}, "trainer_name": "nnUNetTrainer"}
    assert "Python code" not in refused(save_state(saved), "it is nnU-Net: ")


@pytest.mark.parametrize(
    "prefix", ["net.", "unet.", "module.unet.", "model.diffusion_model.", "ema_model.module.", "denoise_fn."]
)
def test_any_prefix_that_leaves_exactly_the_familys_names_is_removed(save_state, state, prefix):
    loaded = load_checkpoint(save_state({prefix + name: value for name, value in state.items()}))
    assert same(loaded.state, state)
    assert f"the prefix {prefix!r} was removed from all names" in loaded.guesses


def test_of_two_copies_the_average_is_taken_and_what_wrappers_count_is_left_out(save_state, state):
    average = {f"ema_model.model.{name}": value + 1 for name, value in state.items()}
    counted = {"initted": torch.tensor(1), "step": torch.tensor(900), "ema_model.betas": torch.zeros(9).double()}
    saved = {f"online_model.model.{name}": value for name, value in state.items()} | average | counted
    loaded = load_checkpoint(save_state(saved))
    assert same(loaded.state, {name: value + 1 for name, value in state.items()})
    assert any("under 'ema_model.model.'" in line and "'online_model.model.'" in line for line in loaded.guesses)


def test_the_average_of_latent_diffusion_is_found_without_its_dots(save_state, state):
    saved = {f"model.diffusion_model.{name}": value for name, value in state.items()}
    saved |= {f"model_ema.diffusion_model{name.replace('.', '')}": value + 1 for name, value in state.items()}
    saved |= {"model_ema.decay": torch.tensor(0.999), "model_ema.num_updates": torch.tensor(7), "betas": torch.ones(4)}
    loaded = load_checkpoint(save_state({"state_dict": saved, "epoch": 3}))
    assert same(loaded.state, {name: value + 1 for name, value in state.items()})


def test_weights_are_found_in_a_nest_of_any_name(save_state, state):
    saved = {"epoch": 3, "denoiser": {"weights": state}, "optimizer": {"state": {0: {"exp_avg": torch.zeros(3)}}}}
    loaded = load_checkpoint(save_state(saved))
    assert same(loaded.state, state)
    assert any("under 'denoiser.weights'" in line for line in loaded.guesses)


def test_a_part_of_a_larger_model_is_refused_with_what_else_there_is(save_state, state):
    saved = {f"unet.{name}": value for name, value in state.items()} | named("prior.encoder.weight")
    refused(save_state(saved), r"a part of a larger model.*prior\.encoder\.weight")


@pytest.mark.parametrize(
    ("multipliers", "size"),
    [((1, 2, 3, 4), 64), ((1, 1, 2, 3, 4), 128), ((1, 1, 2, 2, 4, 4), 224), ((1, 2, 2, 2), 32), ((1, 2), 224)],
)
def test_the_size_is_guessed_from_the_multipliers_of_channels(save_state, multipliers, size):
    from napari_diffseg.networks.config import UNetConfig
    from napari_diffseg.networks.unet import UNet

    config = UNetConfig(
        in_channels=5,
        model_channels=32,
        out_channels=2,
        num_res_blocks=1,
        attention_factors=(),
        channel_mult=multipliers,
    )
    loaded = load_checkpoint(save_state(UNet(config).state_dict()))
    assert loaded.recipe.size == (size, size)
    assert any(line.startswith("size = ") for line in loaded.guesses)
