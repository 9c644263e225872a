"""MONAI's DiffusionModelUNet, of MONAI itself and of the older GenerativeModels."""

from __future__ import annotations

from math import gcd
from typing import TYPE_CHECKING, Any, Final

from napari_diffseg.checkpoint.families.family import Imported
from napari_diffseg.checkpoint.families.layout import Layout, Names, residual_names
from napari_diffseg.errors import BadCheckpoint, BadRecipe
from napari_diffseg.networks.config import NORM_GROUPS, UNetConfig
from napari_diffseg.networks.infer import channel_multiplier

if TYPE_CHECKING:
    from napari_diffseg.checkpoint.families.family import Shapes, Sidecar

STEM: Final = "conv_in.conv.weight"

_NORM_EPS = 1e-6
_TUTORIAL_SIZE = 64
_COMMON: dict[str, Any] = {
    "stem": "conv_in.conv",
    "head_norm": "out.0",
    "head": "out.2.conv",
    "time": ("time_embed.0", "time_embed.2"),
    "residual": residual_names(".conv", "skip_connection.conv"),
    "middle": ("middle_block.resnet_1", "middle_block.attention", "middle_block.resnet_2"),
    "down": "downsampler",
    "down_conv": "op.conv",
    "up": "upsampler",
}
_CORE = Names(
    **_COMMON,
    attention=("norm", "attn.out_proj"),
    queries_keys_values=("attn.to_q", "attn.to_k", "attn.to_v"),
    joined="attn.qkv",
    up_conv="postconv.conv",
)
_GENERATIVE = Names(
    **_COMMON,
    attention=("norm", "proj_attn"),
    queries_keys_values=("to_q", "to_k", "to_v"),
    up_conv="conv.conv",
)
_REASONS = {
    "modalities": "the order of the Medical Decathlon, which MONAI's tutorials use",
    "labels": "not stated in the file",
    "axis_codes": "as in MONAI's tutorial, which reorients to RAS",
    "size": "as in MONAI's tutorial",
    "spacing_mm": "as in MONAI's tutorial",
    "centre": "as in MONAI's tutorial",
    "normalisation": "as in MONAI's tutorial",
    "percentile": "as in MONAI's tutorial",
    "percentile_of": "as in MONAI's tutorial",
    "channel_order": "as in MONAI's tutorial",
    "mask_low": "as in MONAI's tutorial",
    "mask_high": "as in MONAI's tutorial",
    "clip": "MONAI's default",
    "schedule": "MONAI's default",
    "train_timesteps": "MONAI's default",
    "prediction": "MONAI's default",
    "variance": "MONAI's default",
    "epsilon_after_clip": "as MONAI's DDIMScheduler does",
    "sampler": "as in MONAI's tutorial; a run may use another",
    "timesteps": "as in MONAI's tutorial; a run may use others",
}
_PROMISES: dict[str, Any] = {
    "axis_codes": ("R", "A", "S"),
    "spacing_mm": 3.0,
    "centre": "image",
    "normalisation": "percentile",
    "percentile": 99.5,
    "percentile_of": "image",
    "channel_order": "images_first",
    "mask_low": 0.0,
    "mask_high": 1.0,
    "clip": (-1.0, 1.0),
    "schedule": "linear",
    "train_timesteps": 1000,
    "prediction": "epsilon",
    "variance": "fixed_small",
    "epsilon_after_clip": False,
    "sampler": "ddpm",
    "timesteps": 1000,
}
_MODALITIES = {1: ("flair",), 4: ("flair", "t1", "t1ce", "t2")}


def read_monai(shapes: Shapes, _sidecar: Sidecar) -> Imported:
    """A DiffusionModelUNet as one of our networks.

    Neither the heads of its attention nor the groups of its normalisations leave a trace: they are guessed.

    Raises
    ------
    BadCheckpoint
        If it is one that cannot be used: 3-D, with classes, or with a text or image context.
    """
    _refuse_others(shapes)
    old = any(name.endswith(".proj_attn.weight") or ".upsampler.conv.conv." in name for name in shapes)
    layout = Layout(_GENERATIVE if old else _CORE, shapes)
    stem, first = layout.shape(STEM), layout.channels[0]
    groups = gcd(NORM_GROUPS, *layout.channels)
    try:
        config = UNetConfig(
            in_channels=stem[1],
            model_channels=first,
            out_channels=layout.shape("out.2.conv.weight")[0],
            num_res_blocks=layout.blocks,
            attention_factors=layout.attention_factors,
            channel_mult=tuple(channel_multiplier(c, first) for c in layout.channels),
            new_attention_order=True,
            resblock_updown=layout.resamples_by_blocks,
            norm_groups=groups,
            norm_eps=_NORM_EPS,
        )
    except BadRecipe as err:
        raise BadCheckpoint(f"its network cannot be built here: {err}") from err
    size = max(_TUTORIAL_SIZE, config.size_multiple)
    return Imported(
        config=config,
        translate=layout.translate,
        promises=_PROMISES | {"size": (size, size)} | _channels(config),
        reasons=_REASONS,
        guesses=(
            "num_heads = 1 (as in MONAI's tutorials; its num_head_channels is not stored)",
            f"norm_groups = {groups} (the most that divide its channels, up to MONAI's default; not stored)",
            "norm_eps = 1e-06 (MONAI's default; not stored)",
        ),
        notes=("named as by the older MONAI GenerativeModels",) if old else (),
    )


def _channels(config: UNetConfig) -> dict[str, Any]:
    modalities = _MODALITIES.get(config.in_channels - 1)
    return {"labels": ("lesion",), **({"modalities": modalities} if modalities else {})}


def _refuse_others(shapes: Shapes) -> None:
    if len(shapes[STEM]) == 5:
        raise BadCheckpoint("it is 3-D, and whole volumes cannot be sampled here yet: train a 2-D one on slices.")
    if len(shapes[STEM]) != 4:
        raise BadCheckpoint(f"{STEM} has the shape {shapes[STEM]}, where a 2-D convolution was expected.")
    if "class_embedding.weight" in shapes:
        raise BadCheckpoint("it was trained with classes, of which a segmentation has none: it cannot be used.")
    if any(".transformer_blocks." in name for name in shapes):
        raise BadCheckpoint("it sees its image by cross-attention, where the image must be among its input channels.")
