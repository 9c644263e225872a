from __future__ import annotations

import pytest
import torch

from napari_diffseg.errors import BadCheckpoint
from napari_diffseg.networks.config import UNetConfig
from napari_diffseg.networks.infer import infer_config
from napari_diffseg.networks.unet import UNet

BASE = {
    "in_channels": 5,
    "model_channels": 32,
    "out_channels": 2,
    "num_res_blocks": 2,
    "attention_factors": (2, 4),
    "channel_mult": (1, 2, 2),
}


def shapes(config: UNetConfig) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        return {name: tuple(value.shape) for name, value in UNet(config).state_dict().items()}


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"in_channels": 2, "out_channels": 1},
        {"num_res_blocks": 1},
        {"num_res_blocks": 3, "attention_factors": (1,)},
        {"attention_factors": ()},
        {"attention_factors": (4,), "resblock_updown": True},
        {"attention_factors": (), "resblock_updown": True, "scale_shift_norm": True},
        {"conv_resample": False},
        {"conv_resample": False, "num_res_blocks": 1, "attention_factors": ()},
        {"channel_mult": (2,), "attention_factors": (1,)},
        {"channel_mult": (1, 1), "attention_factors": (2,)},
        {"model_channels": 128, "channel_mult": (1, 1, 2, 2, 4, 4), "attention_factors": (16,)},
    ],
)
def test_a_configuration_is_read_off_its_own_weights(change):
    config = UNetConfig(**BASE | change)
    assert infer_config(shapes(config)).config == config


def test_what_leaves_no_trace_is_guessed_aloud():
    config = UNetConfig(**BASE, num_heads=4, new_attention_order=True)
    inferred = infer_config(shapes(config))
    assert (inferred.config.num_heads, inferred.config.new_attention_order) == (1, False)
    assert [guess.split(" = ")[0] for guess in inferred.guesses] == ["num_heads", "new_attention_order"]


@pytest.mark.parametrize(
    "name",
    [
        "time_embed.0.weight",
        "input_blocks.0.0.weight",
        "middle_block.0.in_layers.2.weight",
        "middle_block.0.emb_layers.1.weight",
        "middle_block.1.qkv.weight",
        "out.2.weight",
        "input_blocks.4.0.in_layers.2.weight",
    ],
)
def test_the_missing_tensor_is_named(name):
    found = shapes(UNetConfig(**BASE))
    del found[name]
    with pytest.raises(BadCheckpoint, match=f"{name} is missing"):
        infer_config(found)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"label_emb.weight": (10, 128)}, "trained with classes"),
        ({"input_blocks.0.0.weight": (32, 5, 3, 3, 3)}, "4 dimensions were expected"),
        ({"time_embed.0.weight": (128, 0)}, "time_embed.0.weight has the shape"),
        ({"input_blocks.1.0.in_layers.2.weight": (33, 32, 3, 3)}, "has a multiple of 32"),
        ({"input_blocks.9999.0.bias": (1,)}, "10000 input blocks"),
        ({"input_blocks.9.0.bias": (1,)}, "10 input blocks do not make levels of 3"),
        ({"out.2.weight": (10**9, 32, 3, 3)}, "out_channels is 1000000000"),
        ({"time_embed.0.weight": (128, 1)}, "model_channels is 1: give an even number"),
    ],
)
def test_weights_of_another_kind_are_refused_in_words(change, said):
    found = shapes(UNetConfig(**BASE)) | change
    with pytest.raises(BadCheckpoint, match=said):
        infer_config(found)


def test_a_file_without_weights_is_refused():
    with pytest.raises(BadCheckpoint, match=r"time_embed\.0\.weight is missing"):
        infer_config({})
