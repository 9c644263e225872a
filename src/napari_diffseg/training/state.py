"""A training on disk: all that the next step depends on, whole at every moment."""

from __future__ import annotations

import pickle
import zipfile
from typing import TYPE_CHECKING, TypedDict

import torch

from napari_diffseg.errors import BadCheckpoint
from napari_diffseg.imaging.atomic import atomic_write
from napari_diffseg.imaging.names.naming import shown_name
from napari_diffseg.training.validate import Figures

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Any


_DAMAGED = (
    OSError,
    RuntimeError,
    EOFError,
    LookupError,
    ArithmeticError,
    AttributeError,
    MemoryError,
    TypeError,
    ValueError,
    IndexError,
    AttributeError,
    OverflowError,
    RecursionError,
    AssertionError,
    pickle.UnpicklingError,
    zipfile.BadZipFile,
)


class TrainingState(TypedDict):
    """What a training goes on from.

    The order of the data, the noise and the learning rate are not in it: they are functions of the seed and the step.

    network, average: state dicts. optimizer: its state dict. step: how many are done. best_dice, best_step: of the best
    validation, -1 where there was none. validated: step and figures of the last validation, or empty.
    """

    network: dict[str, torch.Tensor]
    average: dict[str, torch.Tensor]
    optimizer: dict[str, Any]
    step: int
    best_dice: float
    best_step: int
    validated: dict[str, float]


def save_state(path: Path, state: TrainingState) -> None:
    """Write a state over the one before, so that a whole one is there at every moment.

    Raises
    ------
    OutputFailed
        If there is no room; the state before is intact.
    """
    tensors = [*state["network"].values(), *state["average"].values()]
    size = 2 * sum(t.numel() * t.element_size() for t in tensors)  # AdamW holds two numbers a weight, too
    atomic_write(path, lambda file: torch.save(dict(state), file), overwrite=True, size=size)


def load_state(path: Path) -> TrainingState:
    """Read a state, on the CPU.

    Raises
    ------
    BadCheckpoint
        If it cannot be read or is damaged.
    """
    try:
        loaded = torch.load(path, weights_only=True, map_location="cpu")
        return {
            "network": loaded["network"],
            "average": loaded["average"],
            "optimizer": loaded["optimizer"],
            "step": int(loaded["step"]),
            "best_dice": float(loaded["best_dice"]),
            "best_step": int(loaded["best_step"]),
            "validated": _figures(loaded["validated"]),
        }
    except _DAMAGED as err:
        raise damaged_state(path) from err


def damaged_state(path: Path) -> BadCheckpoint:
    """That a state cannot be gone on from."""
    return BadCheckpoint(
        f"{shown_name(path)} in {path.parent} cannot be read or is damaged: start again in another folder."
    )


def _figures(values: Mapping[str, float]) -> dict[str, float]:
    """Of the last validation, if there was one: its step, and all that `Figures.columns` gives."""
    figures = {str(name): float(value) for name, value in values.items()}
    if figures:
        Figures.from_columns(figures)
        int(figures["step"])
    return figures
