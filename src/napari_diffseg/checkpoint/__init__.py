"""Checkpoints: read whatever a trained network comes in, without trusting it, and write it with its recipe."""

from napari_diffseg.checkpoint.convert import convert_checkpoint
from napari_diffseg.checkpoint.describe import as_values, describe
from napari_diffseg.checkpoint.load import load_checkpoint
from napari_diffseg.checkpoint.model import Checkpoint
from napari_diffseg.checkpoint.resolve import resolve_checkpoint
from napari_diffseg.checkpoint.save import save_checkpoint

__all__ = [
    "Checkpoint",
    "as_values",
    "convert_checkpoint",
    "describe",
    "load_checkpoint",
    "resolve_checkpoint",
    "save_checkpoint",
]
