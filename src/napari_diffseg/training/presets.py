"""The trainings that have a name."""

from __future__ import annotations

from typing import Final

from napari_diffseg.errors import BadRequest
from napari_diffseg.recipe import PAPER as PAPER_RECIPE
from napari_diffseg.recipe import Recipe
from napari_diffseg.training.config import (
    AugmentationSettings,
    DataSettings,
    LossSettings,
    NetworkSettings,
    OptimiserSettings,
    TrainingConfig,
    ValidationSettings,
)

_FEW_STEPS = Recipe(
    title="Whole tumour",
    modalities=("t1", "t1ce", "t2", "flair"),
    labels=("whole tumour",),
    size=(112, 96),
    spacing_mm=2.0,
    centre="brain",
    normalisation="zscore",
    mask_low=-1.0,
    mask_high=1.0,
    schedule="cosine",
    train_timesteps=1000,
    prediction="x0",
    variance="fixed_small",
    sampler="dpmpp",
    timesteps=10,
)

DEFAULT: Final = TrainingConfig(preset="default", recipe=_FEW_STEPS)
"""Ours, for good masks in few steps: x_0 predicted, cosine schedule, masks of -1 and 1."""

PAPER: Final = TrainingConfig(
    preset="paper",
    save_every=500,
    recipe=PAPER_RECIPE,
    network=NetworkSettings(
        model_channels=128,
        channel_mult=(1, 1, 2, 2, 4, 4),
        num_res_blocks=2,
        attention_factors=(16,),
        scale_shift_norm=False,
    ),
    data=DataSettings(slices="80:129", empty_share=None),
    loss=LossSettings(dice_weight=0.0, noisiest=1.0),
    optimiser=OptimiserSettings(
        steps=60_000,
        batch_size=10,
        learning_rate=1e-4,
        warmup=0,
        final_rate=1.0,
        weight_decay=0.0,
        ema=0.9999,
    ),
    augmentation=AugmentationSettings(kind="off", missing=0.0),
    validation=ValidationSettings(every=5000, timesteps=100),
)
"""Wolleb et al. 2022, arXiv:2112.03145, as far as text, code and the authors' answers tell (docs/training.md)."""

TINY: Final = TrainingConfig(
    preset="tiny",
    save_every=10,
    log_every=5,
    recipe=_FEW_STEPS.model_copy(
        update={"title": "A trial", "size": (32, 32), "spacing_mm": 6.0, "train_timesteps": 100, "timesteps": 4}
    ),
    network=NetworkSettings(channel_mult=(1, 1)),
    data=DataSettings(phantoms=4, held_out_phantoms=1),
    optimiser=OptimiserSettings(steps=40, batch_size=4, warmup=5, precision="fp32"),
    validation=ValidationSettings(every=20, cases=1, members=2, slices=4),
)
"""A minute on a processor, to see that everything works; its masks are worth nothing."""

PRESETS: Final = {config.preset: config for config in (DEFAULT, PAPER, TINY)}


def preset(name: str) -> TrainingConfig:
    """The preset of a name.

    Raises
    ------
    BadRequest
        If there is none; the text names all.
    """
    try:
        return PRESETS[name]
    except KeyError:
        raise BadRequest(f"There is no preset {name}: choose {', '.join(PRESETS)}.") from None
