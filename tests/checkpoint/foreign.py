"""Networks of other libraries with random weights, as their own code builds and saves them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from diffusers import DDIMScheduler, UNet2DModel
from monai.networks.nets import DiffusionModelUNet
from torch import nn

if TYPE_CHECKING:
    from pathlib import Path

MONAI: dict[str, dict[str, Any]] = {
    "tutorial": {"channels": (32, 32, 32), "attention_levels": (False, False, True), "num_head_channels": 32},
    "heads": {"channels": (32, 64), "attention_levels": (True, True), "num_head_channels": 8, "num_res_blocks": 2},
    "uneven": {"channels": (64, 96), "attention_levels": (False, True), "num_head_channels": 96},
    "blocks that resample": {
        "channels": (32, 32),
        "attention_levels": (False, False),
        "num_head_channels": 32,
        "resblock_updown": True,
    },
    "few groups": {
        "channels": (16, 48),
        "attention_levels": (False, True),
        "num_head_channels": 16,
        "norm_num_groups": 16,
    },
    "no last layer": {
        "channels": (32, 32),
        "attention_levels": (False, True),
        "num_head_channels": 16,
        "include_fc": False,
    },
    "joined": {
        "channels": (32, 32),
        "attention_levels": (False, True),
        "num_head_channels": 16,
        "use_combined_linear": True,
    },
}
"""Settings of DiffusionModelUNet, by what is particular in them."""

DIFFUSERS: dict[str, dict[str, Any]] = {
    "plain": {"block_out_channels": (32, 64), "attention_head_dim": 8},
    "one head": {"block_out_channels": (32, 64), "attention_head_dim": None, "layers_per_block": 2},
    "scale and shift": {
        "block_out_channels": (32, 32),
        "resnet_time_scale_shift": "scale_shift",
        "attn_norm_num_groups": 32,
    },
    "converted DDPM's time": {"block_out_channels": (32, 64), "flip_sin_to_cos": False, "freq_shift": 1},
    "few groups": {"block_out_channels": (16, 48), "norm_num_groups": 8, "norm_eps": 1e-6},
    "no attention in the middle": {"block_out_channels": (32, 32), "add_attention": False},
    "attention on one way": {
        "block_out_channels": (32, 32),
        "up_block_types": ("UpBlock2D", "UpBlock2D"),
    },
}
"""Settings of UNet2DModel, likewise."""


def randomise(network: nn.Module, *, seed: int = 0) -> nn.Module:
    """Weights that make every part matter: those that are built as zeros, too."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in network.parameters():
        scale = 0.6 / max(1, parameter[0].numel()) ** 0.5 if parameter.ndim > 1 else 0.2
        base = 1.0 if parameter.ndim == 1 and bool((parameter == 1).all()) else 0.0
        parameter.data = base + scale * torch.randn(parameter.shape, generator=generator)
    return network.eval().requires_grad_(False)


def monai_network(kind: str = "tutorial", **changes: Any) -> nn.Module:
    """A DiffusionModelUNet of two images' channels and one mask's, unless told."""
    settings = {"spatial_dims": 2, "in_channels": 3, "out_channels": 1, "num_res_blocks": 1, **MONAI[kind], **changes}
    return randomise(DiffusionModelUNet(**settings))


def calm(network: nn.Module) -> nn.Module:
    """The network with a tenth of its prediction: as chaotic as random weights are, a chain blows rounding up."""
    head = network.conv_out if hasattr(network, "conv_out") else network.out[2].conv
    head.weight.mul_(0.1)
    head.bias.mul_(0.1)
    return network


def old_names(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A DiffusionModelUNet's tensors as the older MONAI GenerativeModels named them."""
    renamed = (
        (".attn.to_", ".to_"),
        (".attn.out_proj.", ".proj_attn."),
        (".upsampler.postconv.conv.", ".upsampler.conv.conv."),
    )
    out = {}
    for name, tensor in state.items():
        for new, old in renamed:
            name = name.replace(new, old)
        out[name] = tensor
    return out


def diffusers_network(kind: str = "plain", **changes: Any) -> nn.Module:
    """A UNet2DModel of two images' channels and one mask's, unless told."""
    settings = {
        "sample_size": 16,
        "in_channels": 3,
        "out_channels": 1,
        "layers_per_block": 1,
        "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
        "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
        **DIFFUSERS[kind],
        **changes,
    }
    return randomise(UNet2DModel(**settings))


def save_pipeline(folder: Path, network: nn.Module, scheduler: Any = None) -> Path:
    """A folder as a pipeline is saved: `unet/`, `scheduler/`, `model_index.json`."""
    scheduler = DDIMScheduler() if scheduler is None else scheduler
    network.save_pretrained(folder / "unet")
    scheduler.save_pretrained(folder / "scheduler")
    name = type(scheduler).__name__
    (folder / "model_index.json").write_text(
        '{"_class_name": "DDPMPipeline", "_diffusers_version": "0.42.1", "scheduler": ["diffusers", "'
        + name
        + '"], "unet": ["diffusers", "UNet2DModel"]}'
    )
    return folder
