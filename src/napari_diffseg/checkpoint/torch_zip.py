"""Files of torch.save: a zip archive with a pickle that describes tensors, and one record for each storage."""

from __future__ import annotations

import io
import math
import struct
import zipfile
from typing import TYPE_CHECKING

import torch

from napari_diffseg.checkpoint.families import family_of, refuse
from napari_diffseg.checkpoint.nesting import find_state_dict
from napari_diffseg.checkpoint.strict_pickle import StoredTensor, describe_pickle, texts_in
from napari_diffseg.checkpoint.weights import DTYPES, MAX_TENSORS, WeightsFile, shown
from napari_diffseg.errors import BadCheckpoint

if TYPE_CHECKING:
    from collections.abc import Mapping

MAGIC = b"PK\x03\x04"
"""First bytes of a zip archive."""

_ENTRY = b"PK\x01\x02"
_ENCRYPTED = 0x1
_MAX_RECORDS = 2 * MAX_TENSORS
_ITEM_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}
_DAMAGED = "it is damaged or cut short ({}): download or copy it again."
# What zipfile raises for archives that are not as they should be: RuntimeError where encrypted, OverflowError where a
# place in the file has more than 63 bits.
_ZIP_ERRORS = (
    zipfile.BadZipFile,
    NotImplementedError,
    RuntimeError,
    ValueError,
    EOFError,
    OSError,
    KeyError,
    OverflowError,
    struct.error,
)


def open_torch_zip(data: bytes) -> WeightsFile:
    """The tensors of a file that torch.save wrote, described but not read.

    Neither torch.load nor pickle touches the file: torch's reader does not verify the archive's checksums, and takes
    memory for whatever sizes a file claims.

    Parameters
    ----------
    data : bytes
        The whole file.

    Returns
    -------
    WeightsFile
        Its `read` verifies the checksum of every record.

    Raises
    ------
    BadCheckpoint
        If it is damaged, holds anything but a dict of dense tensors, or claims more than there is.
    """
    archive, root = _open_archive(data)
    index = _read(archive, f"{root}/data.pkl")
    try:
        state, notes = find_state_dict(describe_pickle(index))
    except BadCheckpoint as err:
        raise _with_family(err, texts_in(index)) from err
    _check_byte_order(archive, root)
    records = {info.filename: info.file_size for info in archive.infolist()}
    total = 0
    for name, tensor in state.items():
        _check_tensor(name, tensor, records.get(f"{root}/data/{tensor.key}"))
        total += math.prod(tensor.shape) * _ITEM_BYTES[tensor.dtype]
    if total > 2 * len(data):
        raise BadCheckpoint("its tensors are larger than the file: they share memory, save them separately.")
    return WeightsFile(
        shapes={name: tensor.shape for name, tensor in state.items()},
        dtypes={name: tensor.dtype for name, tensor in state.items()},
        read=lambda names: _read_tensors(archive, root, {name: state[name] for name in names}),
        notes=notes,
    )


def _with_family(err: BadCheckpoint, names: frozenset[str]) -> BadCheckpoint:
    """A refusal that also says whose network it is, where that can be told."""
    family = family_of(names)
    if family is None:
        return err
    return refuse(family) if family.read is None else BadCheckpoint(f"it is {family.name}, but {err}", *err.remedies)


def _open_archive(data: bytes) -> tuple[zipfile.ZipFile, str]:
    """The archive and the folder in it that holds everything."""
    if data.count(_ENTRY) > _MAX_RECORDS:
        raise BadCheckpoint("its archive has too many records: it is not a dict of weights.")
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except _ZIP_ERRORS as err:
        raise BadCheckpoint(_DAMAGED.format("its archive has no table of contents")) from err
    infos = archive.infolist()
    names = [info.filename for info in infos]
    roots = {name.partition("/")[0] for name in names}
    root = next(iter(roots), "")
    if len(roots) != 1 or f"{root}/data.pkl" not in names:
        raise BadCheckpoint(
            "it is a zip archive, but not one of torch.save: unpack it, and choose the file of weights."
        )
    if f"{root}/constants.pkl" in names or any(name.startswith(f"{root}/code/") for name in names):
        raise BadCheckpoint("it is a TorchScript program, which holds code: ask for its state dict.")
    if len(set(names)) != len(names):
        raise BadCheckpoint(_DAMAGED.format("its archive names a record twice"))
    if any(info.compress_type != zipfile.ZIP_STORED for info in infos):
        raise BadCheckpoint("its archive is compressed, which torch.save never does: save it again with torch.save.")
    if any(info.flag_bits & _ENCRYPTED for info in infos):
        raise BadCheckpoint("its archive is encrypted: decrypt it first.")
    if sum(info.file_size for info in infos) > len(data):
        raise BadCheckpoint(_DAMAGED.format("its records are larger than the file"))
    return archive, root


def _read(archive: zipfile.ZipFile, record: str) -> bytes:
    """A record's bytes, its checksum verified."""
    try:
        return archive.read(record)
    except _ZIP_ERRORS as err:
        raise BadCheckpoint(_DAMAGED.format(f"record {shown(record)} does not fit its checksum")) from err


def _check_byte_order(archive: zipfile.ZipFile, root: str) -> None:
    record = f"{root}/byteorder"
    if record in archive.namelist() and _read(archive, record) != b"little":
        raise BadCheckpoint("it was saved on a big-endian machine: save it again on a common one.")


def _check_tensor(name: str, tensor: StoredTensor, record_bytes: int | None) -> None:
    what = f"tensor {shown(name)}"
    if tensor.dtype not in DTYPES:
        raise BadCheckpoint(f"{what} is of {tensor.dtype}, where weights are {', '.join(DTYPES)}: save it as float32.")
    if record_bytes is None:
        raise BadCheckpoint(_DAMAGED.format(f"the record of {what} is missing"))
    if tensor.numel * _ITEM_BYTES[tensor.dtype] != record_bytes:
        raise BadCheckpoint(
            _DAMAGED.format(f"the record of {what} has {record_bytes} bytes, and another size is stated")
        )
    if not _is_dense(tensor.shape, tensor.stride):
        raise BadCheckpoint(f"{what} is not dense (shape {tensor.shape}, stride {tensor.stride}): save it contiguous.")
    if tensor.offset + math.prod(tensor.shape) > tensor.numel:
        raise BadCheckpoint(_DAMAGED.format(f"{what} reaches beyond its record"))


def _is_dense(shape: tuple[int, ...], stride: tuple[int, ...]) -> bool:
    """Whether every element has its own place and none is left out, in any order of the axes."""
    expected = 1
    for step, length in sorted((step, length) for step, length in zip(stride, shape, strict=True) if length != 1):
        if step != expected:
            return False
        expected *= length
    return 0 not in shape


def _read_tensors(archive: zipfile.ZipFile, root: str, state: Mapping[str, StoredTensor]) -> dict[str, torch.Tensor]:
    storages: dict[tuple[str, str], torch.Tensor] = {}
    tensors = {}
    for name, tensor in state.items():
        place = (tensor.key, tensor.dtype)
        if place not in storages:
            # a bytearray, because torch wants memory that may be written to
            record = bytearray(_read(archive, f"{root}/data/{tensor.key}"))
            storages[place] = torch.frombuffer(record, dtype=DTYPES[tensor.dtype])
        view = storages[place].as_strided(tensor.shape, tensor.stride, tensor.offset)
        whole = view.numel() == storages[place].numel()
        tensors[name] = view.contiguous() if whole else view.clone(memory_format=torch.contiguous_format)
    return tensors
