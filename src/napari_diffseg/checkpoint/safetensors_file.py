"""The safetensors format: a JSON header, then the bytes of every tensor."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError
from safetensors.torch import load, save

from napari_diffseg.checkpoint.families import is_bookkeeping
from napari_diffseg.checkpoint.weights import MAX_TENSORS, WeightsFile, shown
from napari_diffseg.errors import BadCheckpoint

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    import torch

METADATA_KEY = "napari_diffseg"
"""The entry of the header's metadata that holds the recipe."""

_LENGTH = struct.Struct("<Q")
_MAX_HEADER = 8 << 20
_DTYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}


def is_safetensors(data: bytes) -> bool:
    """Whether the bytes begin as safetensors do: a length, then JSON."""
    return data[_LENGTH.size : _LENGTH.size + 1] == b"{"


def open_safetensors(data: bytes) -> WeightsFile:
    """The tensors of a safetensors file, described but not read.

    Parameters
    ----------
    data : bytes
        The whole file.

    Raises
    ------
    BadCheckpoint
        If the header is damaged, too large, or names anything but floating-point tensors.
    """
    header = _header(data)
    metadata = header.pop("__metadata__", {})
    if not header:
        raise BadCheckpoint("it holds no tensors: choose a file with weights.")
    if len(header) > MAX_TENSORS:
        raise BadCheckpoint(f"it holds {len(header)} tensors, where {MAX_TENSORS} are the most: it is no U-Net.")
    entries = {name: entry for name, entry in header.items() if not is_bookkeeping(name)}
    return WeightsFile(
        shapes={name: _shape(name, entry) for name, entry in entries.items()},
        dtypes={name: _dtype(name, entry) for name, entry in entries.items()},
        read=lambda names: _read(data, names),
        metadata=_own_metadata(metadata),
    )


def safetensors_bytes(state: Mapping[str, torch.Tensor], metadata: str) -> bytes:
    """A safetensors file of the tensors and our metadata; the same arguments give the same bytes.

    Parameters
    ----------
    state : mapping of str to Tensor
        Written in their own dtypes.
    metadata : str
        JSON. It is the only entry, because the format does not keep the order of several.
    """
    # copies, because the format refuses tensors that share memory
    own = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in state.items()}
    written: bytes = save(own, metadata={METADATA_KEY: metadata})
    return written


def _header(data: bytes) -> dict[str, Any]:
    (length,) = _LENGTH.unpack_from(data)
    if length > _MAX_HEADER:
        raise BadCheckpoint(f"its header is said to have {length} bytes, where 8 MB are the most: it is damaged.")
    if _LENGTH.size + length > len(data):
        raise BadCheckpoint("it is cut short in its header: download or copy it again.")
    try:
        header = json.loads(data[_LENGTH.size : _LENGTH.size + length], object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as err:
        raise BadCheckpoint("its header is damaged: download or copy it again.") from err
    if not isinstance(header, dict):
        raise BadCheckpoint("its header is damaged: download or copy it again.")
    return header


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a name is given twice")
    return values


def _shape(name: str, entry: Any) -> tuple[int, ...]:
    shape = entry.get("shape") if isinstance(entry, dict) else None
    if not isinstance(shape, list) or not all(type(n) is int and 0 <= n < 1 << 40 for n in shape):
        raise BadCheckpoint(f"tensor {shown(name)} has no proper shape in the header: download or copy it again.")
    return tuple(shape)


def _dtype(name: str, entry: Mapping[str, Any]) -> str:
    dtype = entry.get("dtype")
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        raise BadCheckpoint(
            f"tensor {shown(name)} is of {shown(str(dtype))}, where weights are {', '.join(_DTYPES)}: save it as F32."
        )
    return _DTYPES[dtype]


def _own_metadata(metadata: Any) -> str | None:
    own = metadata.get(METADATA_KEY) if isinstance(metadata, dict) else None
    if own is not None and not isinstance(own, str):
        raise BadCheckpoint("its recipe is damaged: download or copy it again.")
    return own


def _read(data: bytes, names: Collection[str]) -> dict[str, torch.Tensor]:
    try:
        tensors = load(data)
    except SafetensorError as err:
        raise BadCheckpoint("it is damaged or cut short: download or copy it again.") from err
    return {name: tensors[name] for name in names}
