"""diffusers' UNet2DModel, with the files that lie beside it in a model's or a pipeline's folder."""

from __future__ import annotations

from functools import partial
from math import gcd
from typing import TYPE_CHECKING, Any, Final

from napari_diffseg.checkpoint.families.family import Imported
from napari_diffseg.checkpoint.families.layout import Layout, Names, residual_names
from napari_diffseg.checkpoint.weights import shown
from napari_diffseg.errors import BadCheckpoint, BadRecipe
from napari_diffseg.networks.config import NORM_EPS, NORM_GROUPS, UNetConfig
from napari_diffseg.networks.infer import channel_multiplier

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_diffseg.checkpoint.families.family import Shapes, Sidecar

STEM: Final = "conv_in.weight"
MODEL_CLASS: Final = "UNet2DModel"

_MIDDLE_ATTENTION: Final = "mid_block.attentions.0.{}.weight"

_COMMON: dict[str, Any] = {
    "stem": "conv_in",
    "head_norm": "conv_norm_out",
    "head": "conv_out",
    "time": ("time_embedding.linear_1", "time_embedding.linear_2"),
    "residual": residual_names("", "conv_shortcut"),
    "middle": ("mid_block.resnets.0", "mid_block.attentions.0", "mid_block.resnets.1"),
    "down": "downsamplers.0",
    "down_conv": "conv",
    "up": "upsamplers.0",
    "up_conv": "conv",
}
_NEW = Names(**_COMMON, attention=("group_norm", "to_out.0"), queries_keys_values=("to_q", "to_k", "to_v"))
_OLD = Names(**_COMMON, attention=("group_norm", "proj_attn"), queries_keys_values=("query", "key", "value"))
"""Before diffusers 0.16."""

_HEAD_CHANNELS = 8
_BLOCKS = {"DownBlock2D", "AttnDownBlock2D", "UpBlock2D", "AttnUpBlock2D"}
_EXPECTED: dict[str, tuple[object, ...]] = {
    "center_input_sample": (False,),
    "time_embedding_type": ("positional",),
    "mid_block_type": ("UNetMidBlock2D",),
    "mid_block_scale_factor": (1, 1.0),
    "downsample_padding": (1,),
    "downsample_type": ("conv", "resnet"),
    "upsample_type": ("conv", "resnet"),
    "act_fn": ("silu", "swish"),
    "class_embed_type": (None,),
    "num_class_embeds": (None,),
    "resnet_time_scale_shift": ("default", "scale_shift"),
}
"""Settings of a model that must be so for it to be our network; where one is left out it is diffusers' default."""

_SCHEDULES = {"linear": "linear", "scaled_linear": "scaled_linear", "squaredcos_cap_v2": "cosine", "sigmoid": "sigmoid"}
_PREDICTIONS = {"epsilon": "epsilon", "sample": "x0", "v_prediction": "v"}
_VARIANCES = {
    "fixed_small": "fixed_small",
    "fixed_small_log": "fixed_small",
    "fixed_large": "fixed_large",
    "fixed_large_log": "fixed_large",
    "learned_range": "learned_range",
}
_SAMPLERS = {"DDIMScheduler": ("ddim", 50), "DPMSolverMultistepScheduler": ("dpmpp", 20)}

_REASONS = {
    "labels": "not stated in the file",
    "modalities": "the paper's order; not stated in the file",
    "axis_codes": "slices as nibabel gives those of BraTS; not stated in the file",
    "spacing_mm": "not stated in the file",
    "centre": "not stated in the file",
    "normalisation": "not stated in the file",
    "percentile": "not stated in the file",
    "percentile_of": "not stated in the file",
    "value_range": "as in diffusers' examples; not stated in the file",
    "channel_order": "not stated in the file; both are in use",
    "mask_low": "as in diffusers' examples; not stated in the file",
    "mask_high": "as in diffusers' examples; not stated in the file",
}
_PROMISES: dict[str, Any] = {
    "labels": ("lesion",),
    "axis_codes": ("L", "P", "S"),
    "spacing_mm": None,
    "centre": "image",
    "normalisation": "percentile",
    "percentile": 99.5,
    "percentile_of": "brain",
    "value_range": (-1.0, 1.0),
    "channel_order": "images_first",
    "mask_low": -1.0,
    "mask_high": 1.0,
}
_WITHOUT_SCHEDULER: dict[str, Any] = {
    "clip": (-1.0, 1.0),
    "schedule": "linear",
    "train_timesteps": 1000,
    "prediction": "epsilon",
    "variance": "fixed_small",
    "sampler": "ddpm",
    "timesteps": 1000,
}


def read_diffusers(shapes: Shapes, sidecar: Sidecar) -> Imported:
    """A UNet2DModel as one of our networks; `config.json` and `scheduler_config.json` say what its weights do not.

    Raises
    ------
    BadCheckpoint
        If it is one that cannot be used, or the files beside it contradict it.
    """
    model = sidecar.network
    if len(shapes[STEM]) != 4:
        raise BadCheckpoint(f"{STEM} has the shape {shapes[STEM]}, where a 2-D convolution was expected.")
    if model is not None:
        _check_model(model)
    if _MIDDLE_ATTENTION.format("to_q") in shapes and _MIDDLE_ATTENTION.format("group_norm") not in shapes:
        raise BadCheckpoint(
            "the attention in its middle is not normalised, as diffusers has it with resnet_time_scale_shift = "
            "scale_shift and no attn_norm_num_groups: the network here cannot do so."
        )
    layout = Layout(_OLD if any(name.endswith(".proj_attn.weight") for name in shapes) else _NEW, shapes)
    config, guesses = _config(layout, model)
    size, size_reason = _size(config, model)
    schedule, schedule_reasons = _schedule(sidecar.scheduler, config)
    reasons = _REASONS | size_reason | schedule_reasons
    promises = _PROMISES | {"size": size} | schedule
    if config.in_channels == 5:
        promises["modalities"] = ("t1", "t1ce", "t2", "flair")
    swap = model is not None and model.get("flip_sin_to_cos", True) is False
    return Imported(
        config=config,
        translate=partial(layout.translate, swap_time=swap),
        promises=promises,
        reasons=reasons,
        guesses=guesses,
    )


def _check_model(model: Mapping[str, Any]) -> None:
    """Refuse a model with a part that our network lacks."""
    for name, allowed in _EXPECTED.items():
        if name in model and model[name] not in allowed:
            raise BadCheckpoint(
                f"its config.json says {name} = {shown(str(model[name]))}, which the network here does not have "
                f"(only {' or '.join(map(str, allowed))}): it cannot be used."
            )
    kinds = [*_listed(model, "down_block_types"), *_listed(model, "up_block_types")]
    if strange := sorted({str(kind) for kind in kinds} - _BLOCKS):
        raise BadCheckpoint(f"its blocks are {shown(', '.join(strange))}, which the network here does not have.")
    groups, of_attention = model.get("norm_num_groups", NORM_GROUPS), model.get("attn_norm_num_groups")
    if of_attention not in (None, groups):
        raise BadCheckpoint("its attention is normalised in other groups than the rest: it cannot be used.")
    first = _listed(model, "block_out_channels")[:1]
    if model.get("time_embedding_dim") not in (None, *(4 * c for c in first if isinstance(c, int))):
        raise BadCheckpoint("its time embedding has a length of its own, which the network here cannot have.")


def _listed(model: Mapping[str, Any], name: str) -> list[Any]:
    value = model.get(name, [])
    return value if isinstance(value, list) else []


def _config(layout: Layout, model: Mapping[str, Any] | None) -> tuple[UNetConfig, tuple[str, ...]]:
    told = {} if model is None else model
    first = layout.channels[0]
    groups = told.get("norm_num_groups", gcd(NORM_GROUPS, *layout.channels))
    heads = told.get("attention_head_dim", _HEAD_CHANNELS)
    try:
        config = UNetConfig(
            in_channels=layout.shape(STEM)[1],
            model_channels=first,
            out_channels=layout.shape("conv_out.weight")[0],
            num_res_blocks=layout.blocks,
            attention_factors=layout.attention_factors,
            channel_mult=tuple(channel_multiplier(c, first) for c in layout.channels),
            num_head_channels=heads,
            new_attention_order=True,
            scale_shift_norm=layout.embeds_by_scale_and_shift,
            resblock_updown=layout.resamples_by_blocks,
            norm_groups=groups,
            norm_eps=told.get("norm_eps", NORM_EPS),
            time_freq_shift=told.get("freq_shift", 0),
        )
    except BadRecipe as err:
        raise BadCheckpoint(f"its network cannot be built here: {err}") from err
    if model is not None:
        return config, ()
    return config, (
        f"num_head_channels = {_HEAD_CHANNELS} (diffusers' default; there is no config.json beside the file)",
        f"norm_groups = {groups} (diffusers' default; there is no config.json beside the file)",
        f"norm_eps = {NORM_EPS:g} (diffusers' default; there is no config.json beside the file)",
    )


def _size(config: UNetConfig, model: Mapping[str, Any] | None) -> tuple[tuple[int, int], dict[str, str]]:
    """Rows and columns, and why where they are guessed."""
    given = None if model is None else model.get("sample_size")
    if isinstance(given, int) and not isinstance(given, bool):
        return (given, given), {}
    if isinstance(given, list) and len(given) == 2 and all(type(n) is int for n in given):
        return (given[0], given[1]), {}
    most = 256 - 256 % config.size_multiple
    return (most, most), {"size": "there is no sample_size in a config.json"}


def _schedule(scheduler: Mapping[str, Any] | None, config: UNetConfig) -> tuple[dict[str, Any], dict[str, str]]:
    """What the scheduler's file says, as fields of the recipe; diffusers' defaults, as guesses, where there is none."""
    after_clip = {"epsilon_after_clip": False}
    if scheduler is None:
        why = "diffusers' default; there is no scheduler_config.json"
        return _WITHOUT_SCHEDULER | after_clip, dict.fromkeys(_WITHOUT_SCHEDULER, why)
    if scheduler.get("thresholding") or scheduler.get("_class_name") == "EDMEulerScheduler":
        raise BadCheckpoint("its scheduler clips by dynamic thresholding or is EDM's, which cannot be done here.")
    total = _number(scheduler, "num_train_timesteps", 1000)
    kind = str(scheduler.get("_class_name", "DDPMScheduler"))
    sampler, steps = _SAMPLERS.get(kind, ("ddpm", total))
    span = _number(scheduler, "clip_sample_range", 1.0)
    spacing = scheduler.get("timestep_spacing", "leading")
    learned = config.out_channels == 2 * _labels(config)
    values = {
        "train_timesteps": total,
        "prediction": _translated(_PREDICTIONS, scheduler, "prediction_type", "epsilon"),
        "variance": "learned_range" if learned else _variance(scheduler),
        "clip": (-span, span) if scheduler.get("clip_sample", True) else None,
        "zero_terminal_snr": bool(scheduler.get("rescale_betas_zero_snr", False)),
        "timestep_spacing": spacing,
        "timestep_offset": scheduler.get("steps_offset", 0) if spacing == "leading" else 0,
        "sampler": sampler,
        "timesteps": min(steps, total),
        **_betas(scheduler),
        **after_clip,
    }
    return values, {}


def _labels(config: UNetConfig) -> int:
    return 1 if config.out_channels <= 2 else config.out_channels


def _variance(scheduler: Mapping[str, Any]) -> str:
    given = scheduler.get("variance_type") or "fixed_small"
    fixed = _VARIANCES.get(str(given), "fixed_small")
    return "fixed_small" if fixed == "learned_range" else fixed


def _betas(scheduler: Mapping[str, Any]) -> dict[str, Any]:
    if (trained := scheduler.get("trained_betas")) is not None:
        if not isinstance(trained, list):
            raise BadCheckpoint("its scheduler_config.json has trained_betas that are no list: it is damaged.")
        return {"schedule": "explicit", "betas": trained, "train_timesteps": len(trained)}
    schedule = _translated(_SCHEDULES, scheduler, "beta_schedule", "linear")
    if schedule == "cosine":
        return {"schedule": schedule}
    return {
        "schedule": schedule,
        "beta_range": (_number(scheduler, "beta_start", 1e-4), _number(scheduler, "beta_end", 0.02)),
    }


def _number(scheduler: Mapping[str, Any], name: str, default: float) -> float:
    value = scheduler.get(name, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise BadCheckpoint(f"its scheduler_config.json says {name} = {shown(str(value))}, which is no number.")
    return value


def _translated(known: Mapping[str, str], scheduler: Mapping[str, Any], name: str, default: str) -> str:
    given = str(scheduler.get(name, default))
    if given not in known:
        raise BadCheckpoint(
            f"its scheduler_config.json says {name} = {shown(given)}, where {', '.join(known)} can be used here."
        )
    return known[given]
