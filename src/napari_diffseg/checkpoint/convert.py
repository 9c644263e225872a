"""A state dict made a file of our own, bit for bit."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch

from napari_diffseg.checkpoint.load import FAMILY, load_checkpoint
from napari_diffseg.checkpoint.save import save_checkpoint
from napari_diffseg.errors import BadRequest, OutputExists, OutputFailed
from napari_diffseg.imaging.names.naming import shown_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_diffseg.checkpoint.model import Checkpoint

SUFFIX: Final = ".safetensors"


def convert_checkpoint(
    source: Path | str, target: Path | str, *, overwrite: bool = False, **overrides: Any
) -> Checkpoint:
    """Write a checkpoint as safetensors with its recipe, then read it back and compare.

    Parameters
    ----------
    source : path
        Whatever `load_checkpoint` reads.
    target : path
        The file to write; its name ends in `.safetensors`.
    overwrite : bool
        Replace the target if it is there; the source is never replaced.
    **overrides
        As for `load_checkpoint`; they become part of the recipe. What is still guessed is kept in the file as guessed.

    Returns
    -------
    Checkpoint
        The target, as read back. Its weights have the bits and the dtypes of the source's.

    Raises
    ------
    BadCheckpoint, BadRecipe
        As `load_checkpoint`.
    BadRequest
        If the target has another suffix.
    OutputExists, OutputFailed
        If the target is the source, exists, cannot be written, or reads back differently.
    """
    source, target = Path(source), Path(target)
    if os.path.exists(target) and os.path.exists(source) and os.path.samefile(target, source):
        raise OutputExists(f"{shown_name(target)} is the source itself: choose another name.")
    if target.suffix != SUFFIX:
        name = shown_name(target.stem)
        raise BadRequest(f"{shown_name(target)}: what is written is safetensors: call it {name}{SUFFIX}.")
    loaded = load_checkpoint(source, **overrides)
    card = {**loaded.card, FAMILY: loaded.family, "converted from": f"{shown_name(source)}, sha256 {loaded.digest}"}
    save_checkpoint(
        target,
        loaded.state,
        recipe=loaded.recipe,
        config=loaded.config,
        card=card,
        guesses=loaded.guesses,
        dtype="own",
        overwrite=overwrite,
    )
    written = load_checkpoint(target)
    if not _same_bits(loaded.state, written.state):
        raise OutputFailed(f"{shown_name(target)} reads back with other weights: the disk may be failing, try another.")
    return written


def _same_bits(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(
        tensor.dtype == other[name].dtype and torch.equal(tensor.view(torch.uint8), other[name].view(torch.uint8))
        if tensor.ndim
        else bool(tensor == other[name])
        for name, tensor in one.items()
    )
