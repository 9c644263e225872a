"""Checkpoints: read whatever a trained network comes in, without trusting it, and write it with its recipe.

The names below are loaded when they are first used: what needs no torch, such as `resolve`, comes without it, and
asking for the others where it is not installed says what to install.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

from napari_diffseg.extras import check_extra

if TYPE_CHECKING:
    from napari_diffseg.checkpoint.convert import convert_checkpoint
    from napari_diffseg.checkpoint.description import as_values, describe
    from napari_diffseg.checkpoint.load import load_checkpoint
    from napari_diffseg.checkpoint.model import Checkpoint
    from napari_diffseg.checkpoint.resolve import resolve_checkpoint
    from napari_diffseg.checkpoint.save import save_checkpoint

_HOME: Final = {
    "Checkpoint": "model",
    "as_values": "description",
    "convert_checkpoint": "convert",
    "describe": "description",
    "load_checkpoint": "load",
    "resolve_checkpoint": "resolve",
    "save_checkpoint": "save",
}

__all__ = [
    "Checkpoint",
    "as_values",
    "convert_checkpoint",
    "describe",
    "load_checkpoint",
    "resolve_checkpoint",
    "save_checkpoint",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name != "resolve_checkpoint":
        check_extra("local")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
