"""The authors' code and what grew out of it: improved-diffusion, guided-diffusion, their forks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from napari_diffseg.checkpoint.families.family import Imported
from napari_diffseg.networks.infer import infer_config
from napari_diffseg.recipe import PAPER

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

    from napari_diffseg.checkpoint.families.family import Shapes, Sidecar
    from napari_diffseg.networks.config import UNetConfig

STEM: Final = "input_blocks.0.0.weight"

_REASONS = {
    "modalities": "the original's order",
    "labels": "the paper's",
    "normalisation": "as in the original's example data",
    "percentile": "the paper cuts the top one percent, and its example data show it; the guess was 99.5 before",
    "mask_low": "the original's encoding",
    "mask_high": "the original's encoding",
    "clip": "the original's",
    "schedule": "the original's default",
    "train_timesteps": "the original's default",
    "rescale_timesteps": "the original's default",
    "prediction": "the original's default",
    "axis_codes": "as in the original's example data",
    "size": "the original's",
    "spacing_mm": "the original does not resample",
    "centre": "the original's",
    "sampler": "the paper's; a run may use another",
    "timesteps": "the paper's; a run may use others",
}
_SIZES: dict[tuple[float, ...], int] = {
    (0.5, 1, 1, 2, 2, 4, 4): 512,
    (1, 1, 2, 3, 4): 128,
    (1, 2, 3, 4): 64,
    (1, 2, 2, 2): 32,
}
"""What the family's own scripts multiply channels with, by image size; where that is the paper's, the paper's size."""


def read_guided(shapes: Shapes, _sidecar: Sidecar) -> Imported:
    """A network of the authors' code; whatever its weights do not say is the paper's.

    Raises
    ------
    BadCheckpoint
        If the weights are of another shape.
    """
    inferred = infer_config(shapes)
    promises: dict[str, Any] = {name: getattr(PAPER, name) for name in _REASONS}
    reasons = dict(_REASONS)
    if (size := _SIZES.get(inferred.config.channel_mult)) is not None:
        promises["size"] = (size, size)
        reasons["size"] = f"the original's scripts multiply channels so for {size} pixels"
    elif any(length % inferred.config.size_multiple for length in PAPER.size):
        promises["size"] = _near(inferred.config)
        reasons["size"] = "near the original's, and divisible by this network's levels"
    return Imported(inferred.config, as_they_are, promises, reasons, inferred.guesses)


def as_they_are(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors of a network whose names are ours."""
    return dict(state)


def _near(config: UNetConfig) -> tuple[int, int]:
    multiple = config.size_multiple
    rows, columns = (max(multiple, length // multiple * multiple) for length in PAPER.size)
    return rows, columns
