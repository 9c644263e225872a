"""Small things that tests are made of: a case of a few voxels, a network of a few weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import nibabel as nib
import numpy as np
import torch

from napari_diffseg.checkpoint import save_checkpoint
from napari_diffseg.networks.config import UNetConfig
from napari_diffseg.networks.unet import UNet
from napari_diffseg.recipe import Recipe

if TYPE_CHECKING:
    from pathlib import Path

MODALITIES = ("t1", "t1ce", "t2", "flair")
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
PAPER_NETWORK = UNetConfig(
    in_channels=5,
    model_channels=128,
    out_channels=2,
    num_res_blocks=2,
    attention_factors=(16,),
    channel_mult=(1, 1, 2, 2, 4, 4),
)


def tiny_config(*, modalities: int = 4, labels: int = 1, learned: bool = False) -> UNetConfig:
    """A network of 32 channels on two levels."""
    return UNetConfig(
        in_channels=modalities + labels,
        model_channels=32,
        out_channels=labels * (2 if learned else 1),
        num_res_blocks=1,
        attention_factors=(),
        channel_mult=(1, 1),
    )


def tiny_recipe(**changes: object) -> Recipe:
    """16 x 16 pixels, 8 timesteps, x_0 predicted, masks -1 and 1."""
    values: dict[str, object] = {
        "title": "Tiny",
        "modalities": MODALITIES,
        "labels": ("lesion",),
        "size": (16, 16),
        "mask_low": -1.0,
        "mask_high": 1.0,
        "schedule": "cosine",
        "train_timesteps": 8,
        "prediction": "x0",
        "variance": "fixed_small",
        "sampler": "ddim",
        "timesteps": 4,
    }
    return Recipe.model_validate(values | changes)


def write_tiny_checkpoint(path: Path, *, seed: int = 0, **changes: object) -> Path:
    """Random weights whose masks are neither empty nor full."""
    recipe = tiny_recipe(**changes)
    config = tiny_config(modalities=len(recipe.modalities), labels=len(recipe.labels))
    generator = torch.Generator().manual_seed(seed)
    state = {
        name: 0.15 * torch.randn(value.shape, generator=generator) if value.ndim > 1 else value
        for name, value in UNet(config).state_dict().items()
    }
    save_checkpoint(path, state, recipe=recipe, config=config)
    return path


def write_case(
    folder: Path,
    *,
    shape: tuple[int, int, int] = (14, 12, 5),
    affine: np.ndarray = LPS,
    modalities: tuple[str, ...] = MODALITIES,
    case_id: str = "case_1",
    seed: int = 0,
) -> Path:
    """A BraTS-like folder: a box of brain with noise in it; the last slice is empty."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for name in modalities:
        data = np.zeros(shape, np.int16)
        data[2:-2, 2:-2, :-1] = rng.integers(50, 500, (shape[0] - 4, shape[1] - 4, shape[2] - 1))
        image = nib.Nifti1Image(data, affine)
        image.set_sform(affine, code=1)
        image.set_qform(affine, code=1)
        image.header.set_xyzt_units("mm", "sec")
        nib.save(image, folder / f"{case_id}_{name}.nii.gz")
    return folder
