"""A training's result: weights, recipe, and a card that says where they come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_diffseg.checkpoint import save_checkpoint
from napari_diffseg.training.start import GIVEN

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import torch

    from napari_diffseg.checkpoint import Checkpoint
    from napari_diffseg.training.config import TrainingConfig
    from napari_diffseg.training.split import Split
    from napari_diffseg.training.validate import Figures

_PAPER_GUESSES = (
    "normalisation = percentile: the original's code normalises off-line; its example files fit an upper percentile",
    "percentile = 99: the paper's text, which its example files fit; no lower cut is seen in them",
    "split: the original's list of patients is unpublished",
)

_LONGEST = 2000  # characters of `Recipe.trained_on`; of a long history the oldest goes


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where weights come from.

    Attributes
    ----------
    config : TrainingConfig
        How they were trained.
    data : str
        On what, in a sentence.
    slices : int
        Slices that there were to train on.
    split : Split
        Who was trained on and who held out.
    start : Checkpoint, optional
        What the training began with, as it lies in the run's folder.
    """

    config: TrainingConfig
    data: str
    slices: int
    split: Split
    start: Checkpoint | None = None


def write_weights(
    path: Path, state: Mapping[str, torch.Tensor], told: Provenance, *, step: int, figures: Figures | None
) -> str:
    """Write weights with recipe and card, over what is there; gives the file's SHA-256.

    The card holds no time and no place, so equal trainings give equal files.

    Parameters
    ----------
    path : Path
        The .safetensors file.
    state : mapping of str to Tensor
        The averaged weights.
    told : Provenance
        Where they come from.
    step : int
        Steps done.
    figures : Figures, optional
        Of a validation of these very weights.

    Raises
    ------
    BadCheckpoint
        If the weights are not finite.
    OutputFailed
        If there is no room.
    """
    config = told.config
    sentence = f"{told.data}; {told.slices} slices, {step} steps of batch {config.optimiser.batch_size}."
    if told.start is not None and told.start.recipe.trained_on:
        sentence += f" Before: {told.start.recipe.trained_on}"
    return save_checkpoint(
        path,
        state,
        recipe=config.recipe.model_copy(
            update={"trained_on": sentence[:_LONGEST], "may_miss": config.augmentation.missing > 0}
        ),
        config=config.network.unet_config(config.recipe),
        card=_card(told, step, figures),
        guesses=_PAPER_GUESSES if config.preset == "paper" else (),
        dtype=config.weights,
        overwrite=True,
    )


def _card(told: Provenance, step: int, figures: Figures | None) -> dict[str, str]:
    config = told.config
    card = {
        "preset": config.preset,
        "data": told.data,
        "split": f"{len(told.split.train)} cases trained on, {len(told.split.held_out)} held out by patient, "
        f"sha256 {told.split.digest}",
        "steps": f"{step} of {config.optimiser.steps}, batch {config.optimiser.batch_size}, seed {config.seed}",
        "licence": config.recipe.licence or "not stated by who trained it; that of the data may bind",
    }
    if told.start is not None:
        card["began with"] = f"weights of sha256 {told.start.card.get(GIVEN, told.start.digest)}"
    if figures is not None:
        v = config.validation
        where = "whole volumes" if v.slices is None else f"{v.slices} slices about each lesion"
        of_each = ", ".join(f"{name} {of.dice:.3f}" for name, of in figures.regions.items())
        card["figures"] = (
            f"Dice {figures.dice:.3f}{f' ({of_each})' if of_each else ''}, ECE {figures.ece:.4f}, "
            f"GED^2 {figures.ged_squared:.3f} "
            f"({min(v.cases, len(told.split.held_out))} held-out cases, {v.members} members, "
            f"{v.timesteps or config.recipe.timesteps} steps, {where})"
        )
    return card
