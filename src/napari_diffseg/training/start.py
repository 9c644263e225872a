"""A training that begins with the weights of another one: fine-tuning."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from napari_diffseg.checkpoint import load_checkpoint, resolve_checkpoint, save_checkpoint
from napari_diffseg.errors import BadRequest, Remedy
from napari_diffseg.imaging.names.naming import shown_name

if TYPE_CHECKING:
    from pathlib import Path

    from napari_diffseg.checkpoint import Checkpoint
    from napari_diffseg.training.config import TrainingConfig

GIVEN: Final = "sha256"
"""Line of the copy's card: the digest of the file that was named."""

_SAME: Final = (
    "modalities",
    "size",
    "spacing_mm",
    "fit",
    "normalisation",
    "percentile_of",
    "value_range",
    "channel_order",
    "mask_low",
    "mask_high",
    "schedule",
    "train_timesteps",
    "beta_range",
    "betas",
    "zero_terminal_snr",
    "prediction",
    "variance",
)
"""Of a recipe, what weights have been trained for: with another value they would have to unlearn it."""


def keep_start(path: Path, config: TrainingConfig) -> None:
    """Put the weights that `config.start_from` names into a run's folder, so that nothing else is needed to resume it.

    Parameters
    ----------
    path : Path
        The file to write.
    config : TrainingConfig
        With a `start_from`; the checkpoint must fit its network and recipe.

    Raises
    ------
    BadCheckpoint
        If the checkpoint cannot be used.
    BadRequest
        If it is one of another network, or was trained for other images or another kind of prediction.
    OutputFailed
        If there is no room.
    """
    assert config.start_from is not None  # the caller has looked
    checkpoint = load_checkpoint(resolve_checkpoint(config.start_from))
    _check_fit(checkpoint, config)
    save_checkpoint(
        path,
        checkpoint.state,
        recipe=checkpoint.recipe,
        config=checkpoint.config,
        card={**checkpoint.card, GIVEN: checkpoint.digest},
        guesses=checkpoint.guesses,
        overwrite=True,
    )


def _check_fit(checkpoint: Checkpoint, config: TrainingConfig) -> None:
    name = shown_name(checkpoint.path)
    theirs, ours = checkpoint.recipe.labels, config.recipe.labels
    if len(theirs) == len(ours) > 1 and theirs != ours:
        raise BadRequest(
            f"{name} was trained with the labels {', '.join(theirs)}, this training has {', '.join(ours)}: begin with "
            "another checkpoint, or train its labels in its order.",
            Remedy("recipe.labels"),
        )
    for field in _SAME:
        theirs, ours = getattr(checkpoint.recipe, field), getattr(config.recipe, field)
        if theirs != ours:
            raise BadRequest(
                f"{name} was trained with {field} {theirs}, this training has {ours}: begin with another checkpoint, "
                f"or train with its {field}.",
                Remedy(f"recipe.{field}"),
            )
    if checkpoint.config != config.network.unet_config(config.recipe):
        raise BadRequest(
            f"{name} is of another network than this training's ({checkpoint.parameters / 1e6:.1f} M weights): "
            "begin with another checkpoint, or train a network of its shape.",
            Remedy("network.model_channels"),
            Remedy("network.channel_mult"),
        )
