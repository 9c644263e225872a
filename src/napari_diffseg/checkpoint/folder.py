"""The file of weights that a path means, and what lies beside it: a diffusers model or pipeline is a folder."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from napari_diffseg.checkpoint.families import Sidecar
from napari_diffseg.checkpoint.families.diffusers import MODEL_CLASS
from napari_diffseg.checkpoint.source import read_source
from napari_diffseg.checkpoint.weights import shown
from napari_diffseg.errors import BadCheckpoint

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_WEIGHTS: Final = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin")
_MODEL: Final = "config.json"
_PIPELINE: Final = "model_index.json"
_SCHEDULER: Final = "scheduler_config.json"
_LARGEST_JSON: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Source:
    """What is read of a checkpoint.

    Attributes
    ----------
    weights : Path
        The file of weights.
    sidecar : Sidecar
        What lies beside it.
    beside : tuple of bytes
        The files that the sidecar was read from.
    """

    weights: Path
    sidecar: Sidecar = field(default_factory=Sidecar)
    beside: tuple[bytes, ...] = ()

    def digest(self, data: bytes) -> str:
        """SHA-256 of the weights' bytes, or of them and the files beside, in hexadecimal."""
        digest = hashlib.sha256(data)
        if self.beside:
            digest = hashlib.sha256(digest.digest())
            for part in self.beside:
                digest.update(hashlib.sha256(part).digest())
        return digest.hexdigest()


def find_source(path: Path) -> Source:
    """What a path means: a file; or a diffusers model's or pipeline's folder, or the file of weights in one.

    Raises
    ------
    BadCheckpoint
        If it is a folder of another kind, or the files beside the weights are damaged.
    """
    if path.is_dir():
        return _of_folder(path)
    model = path.parent / _MODEL
    if path.name in _WEIGHTS and model.is_file():
        return _of_model(path, model)
    return Source(path)


def _of_folder(folder: Path) -> Source:
    inner = folder
    if (index := folder / _PIPELINE).is_file():
        parts = _read_json(index)[1]
        models = [name for name, kind in parts.items() if isinstance(kind, list) and kind[-1:] == [MODEL_CLASS]]
        if not models:
            kind = shown(str(parts.get("_class_name", "unknown")))
            raise BadCheckpoint(
                f"it is a diffusers pipeline ({kind}) without a {MODEL_CLASS}, the network that can be used here."
            )
        inner = folder / models[0]
    if not (inner / _MODEL).is_file():
        raise BadCheckpoint(
            f"it is a folder, and not one of a diffusers model (no {_MODEL}): choose the file of weights in it."
        )
    weights = next((inner / name for name in _WEIGHTS if (inner / name).is_file()), None)
    if weights is None:
        raise BadCheckpoint(f"it is a diffusers folder without {_WEIGHTS[0]} in one piece: save the model unsharded.")
    return _of_model(weights, inner / _MODEL)


def _of_model(weights: Path, model: Path) -> Source:
    content, network = _read_json(model)
    kind = network.get("_class_name", MODEL_CLASS)
    if kind != MODEL_CLASS:
        raise BadCheckpoint(
            f"it is diffusers' {shown(str(kind))}, and of diffusers' networks a {MODEL_CLASS} can be used here."
        )
    places = (weights.parent, weights.parent / "scheduler", weights.parent.parent / "scheduler")
    scheduler = next((place / _SCHEDULER for place in places if (place / _SCHEDULER).is_file()), None)
    if scheduler is None:
        return Source(weights, Sidecar(network), (content,))
    said, values = _read_json(scheduler)
    return Source(weights, Sidecar(network, values), (content, said))


def _read_json(path: Path) -> tuple[bytes, Mapping[str, Any]]:
    """The bytes of a JSON file, and the object they are."""
    data = read_source(path)
    try:
        values = json.loads(data) if len(data) <= _LARGEST_JSON else None
    except (ValueError, RecursionError) as err:
        raise BadCheckpoint(f"its {path.name} is damaged: download or copy it again.") from err
    if not isinstance(values, dict):
        raise BadCheckpoint(f"its {path.name} is not what diffusers writes: download or copy it again.")
    return data, values
