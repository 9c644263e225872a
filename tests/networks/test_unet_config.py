from __future__ import annotations

import json
from dataclasses import replace

import pytest

from builders import PAPER_NETWORK
from napari_diffseg.errors import BadRecipe
from napari_diffseg.networks.config import UNetConfig


def test_a_configuration_survives_json():
    config = replace(PAPER_NETWORK, num_head_channels=64, scale_shift_norm=True, dropout=0.1)
    assert UNetConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_six_levels_need_sizes_that_are_multiples_of_32():
    assert PAPER_NETWORK.size_multiple == 32


def test_the_channels_of_a_head_win_over_the_number_of_heads():
    assert replace(PAPER_NETWORK, num_heads=4).heads(512) == 4
    assert replace(PAPER_NETWORK, num_heads=4, num_head_channels=64).heads(512) == 8


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"in_channels": 0}, "in_channels is 0"),
        ({"in_channels": True}, "in_channels is True"),
        ({"in_channels": "5"}, "in_channels is '5'"),
        ({"out_channels": 10**9}, "out_channels is 1000000000"),
        ({"num_res_blocks": 10**6}, "num_res_blocks is 1000000"),
        ({"model_channels": 48, "channel_mult": (1,), "attention_factors": ()}, "48 channels"),
        ({"model_channels": 1, "channel_mult": (32,), "attention_factors": ()}, "even"),
        ({"channel_mult": (1, 1, 2, 2, 4, 64)}, "8192 channels"),
        ({"channel_mult": ()}, "0 levels"),
        ({"channel_mult": (1,) * 9}, "9 levels"),
        ({"channel_mult": 3}, "channel_mult is 3"),
        ({"model_channels": 4096, "channel_mult": (1, 1, 1, 1, 1, 1)}, "weights"),
        ({"attention_factors": (64,)}, "attention_factors"),
        ({"attention_factors": (3,)}, "attention_factors"),
        ({"attention_factors": (16, 16)}, "attention_factors"),
        ({"num_heads": 3}, "num_heads 3 does not divide the 512"),
        ({"num_head_channels": 24}, "num_head_channels 24 does not divide"),
        ({"conv_resample": 1}, "conv_resample is 1"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"dropout": float("nan")}, "dropout is nan"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused_in_words(change, said):
    with pytest.raises(BadRecipe, match=said):
        UNetConfig.from_dict(PAPER_NETWORK.to_dict() | change)


def test_an_unknown_name_is_refused_and_not_dropped():
    with pytest.raises(BadRecipe, match="num_classes is not known"):
        UNetConfig.from_dict(PAPER_NETWORK.to_dict() | {"num_classes": 2})


def test_a_missing_name_is_told():
    values = PAPER_NETWORK.to_dict()
    del values["channel_mult"]
    with pytest.raises(BadRecipe, match="channel_mult is missing"):
        UNetConfig.from_dict(values)
