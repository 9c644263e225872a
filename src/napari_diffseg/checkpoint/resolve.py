"""The file that a user's words mean."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from pathlib import Path

from napari_diffseg.errors import BadCheckpoint

DEMO = "demo"
"""The word that means the checkpoint shipped with the package."""


def resolve_checkpoint(text: str | Path) -> Path:
    """The path of a checkpoint; the word `demo` means the shipped one, anything else is a path.

    Raises
    ------
    BadCheckpoint
        If the shipped one is asked for and this installation lacks it.
    """
    if str(text) != DEMO:
        return _with_home(Path(text))
    shipped = _shipped()
    if not shipped.is_file():
        raise BadCheckpoint(
            "demo: the shipped checkpoint is missing from this installation: install napari-diffseg again, or name a "
            "file."
        )
    return shipped


def is_shipped(file: str, digest: str) -> bool:
    """Whether a file's name and the SHA-256 of its bytes are those of the shipped checkpoint."""
    shipped = _shipped()
    return file == shipped.name and shipped.is_file() and hashlib.sha256(shipped.read_bytes()).hexdigest() == digest


def _shipped() -> Path:
    return Path(str(files("napari_diffseg") / "data" / "demo.safetensors"))


def _with_home(path: Path) -> Path:
    """The path with `~` replaced; as it is where there is no such user, for a file may be called so."""
    try:
        return path.expanduser()
    except RuntimeError:
        return path
