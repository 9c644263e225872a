"""A file's bytes, taken once: only of a regular file, only if they fit, never by memory-mapping."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, NoReturn

from napari_diffseg.errors import BadCheckpoint
from napari_diffseg.imaging.memory_budget import free_memory

if TYPE_CHECKING:
    from pathlib import Path

_NEEDED = 2
"""Memory needed over the size of the file: its bytes, and the tensors made of them."""

_SIGNATURES = (
    (b"version https://git-lfs", "a Git-LFS pointer, not the file it points to: fetch it with `git lfs pull`"),
    (b"\x89HDF\r\n\x1a\n", "a Keras or HDF5 file, which is not supported: export the weights with torch.save"),
    (b"\x1f\x8b", "compressed with gzip: decompress it first"),
    (b"<", "a web page, not a checkpoint: download the file itself"),
)


def read_source(path: Path) -> bytes:
    """All bytes of a file.

    They are copied, because a file that is memory-mapped and shrinks kills the process.

    Raises
    ------
    BadCheckpoint
        If it is absent, unreadable, no regular file, empty, or would not fit in memory.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
    try:
        if path.is_dir():
            raise BadCheckpoint("it is a folder: choose the file of weights in it.")
        descriptor = os.open(path, flags)  # without O_NONBLOCK a named pipe would block for ever
        with os.fdopen(descriptor, "rb") as file:
            size = _checked_size(os.fstat(descriptor))
            data = file.read(size)
    except FileNotFoundError as err:
        raise BadCheckpoint(f"there is no such file in {path.parent}: choose another.") from err
    except (OSError, ValueError, MemoryError) as err:
        reason = getattr(err, "strerror", None) or err
        raise BadCheckpoint(f"it cannot be read ({reason}): choose another file.") from err
    if len(data) != size:
        raise BadCheckpoint(f"it became shorter while it was read ({len(data)} of {size} bytes): try again.")
    return data


def refuse_other_format(data: bytes) -> NoReturn:
    """Say what a file is that is neither a zip archive nor safetensors.

    Raises
    ------
    BadCheckpoint
        Always.
    """
    start = data[:512].lstrip().lower()
    for signature, what in _SIGNATURES:
        if start.startswith(signature.lower()):
            raise BadCheckpoint(f"it is {what}.")
    if data[:1] == b"\x80":
        raise BadCheckpoint(
            "it is a bare pickle or a file of torch before 1.6, which could run code: save it again with a current "
            "torch.save, where it came from."
        )
    if data[257:262] == b"ustar":
        raise BadCheckpoint("it is a tar archive or a file of torch before 0.4: unpack it, or save it again.")
    raise BadCheckpoint("it is no checkpoint, or is cut short at its start: choose a .safetensors or .pt file.")


def _checked_size(status: os.stat_result) -> int:
    if not stat.S_ISREG(status.st_mode):
        raise BadCheckpoint("it is not a regular file: choose a .safetensors or .pt file.")
    if status.st_size == 0:
        raise BadCheckpoint("it is empty: download or copy it again.")
    available = free_memory()
    if status.st_size * _NEEDED > available:
        raise BadCheckpoint(
            f"it needs {status.st_size * _NEEDED / 1e9:.1f} GB of memory, and {available / 1e9:.1f} GB are free: "
            "close other programs, or choose a smaller file."
        )
    return status.st_size
