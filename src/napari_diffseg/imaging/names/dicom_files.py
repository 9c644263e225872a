"""Which files are DICOM files, and which folders hold a series of them. Standard library only."""

from __future__ import annotations

import os
from itertools import islice
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

_PEEKED: Final = 132
_GROUPS: Final = (b"\x02\x00", b"\x08\x00")
_INDEX: Final = "dicomdir"
_LOOKED_AT: Final = 50


def is_dicom(head: bytes) -> bool:
    """Whether a file that begins so is a DICOM file; 132 bytes are enough.

    Without its preamble one begins with an element of group 2 or 8, whose type has two capitals.
    """
    return head[128:132] == b"DICM" or (head[:2] in _GROUPS and head[4:6].isalpha() and head[4:6].isupper())


def holds_dicom(folder: Path) -> bool:
    """Whether DICOM files lie in a folder, by the first bytes of its first files, whatever they are called."""
    try:
        with os.scandir(folder) as entries:
            return any(_is_dicom_file(entry) for entry in islice(entries, _LOOKED_AT))
    except OSError:
        return False


def dicom_files_in(folder: Path) -> list[Path]:
    """The DICOM files in a folder, by name.

    Raises
    ------
    OSError
        If the folder cannot be read.
    """
    with os.scandir(folder) as entries:
        return [folder / name for name in sorted(entry.name for entry in entries if _is_dicom_file(entry))]


def is_dicom_file(path: Path) -> bool:
    """Whether a path is a DICOM file, by its first bytes."""
    try:
        with path.open("rb") as file:
            return is_dicom(file.read(_PEEKED))
    except OSError:
        return False


def _is_dicom_file(entry: os.DirEntry[str]) -> bool:
    if entry.name.lower() == _INDEX or entry.name.startswith("."):
        return False
    try:
        if not entry.is_file():
            return False
        with open(entry.path, "rb") as file:
            return is_dicom(file.read(_PEEKED))
    except OSError:
        return False
