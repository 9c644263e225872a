"""What lies in a folder: images, images of other formats, folders. Standard library only."""

from __future__ import annotations

import os
from itertools import chain, islice
from pathlib import Path

from napari_diffseg.errors import BadCase
from napari_diffseg.imaging.names.dicom_files import holds_dicom
from napari_diffseg.imaging.names.naming import FOREIGN_SUFFIXES, MODALITIES, is_image_name, modality_of, shown_name
from napari_diffseg.imaging.names.placeholders import what_it_is

_SCANNED = 1000
_PEEKED = 20


def images_in(folder: Path) -> list[Path]:
    """The images that lie in a folder, by name; links to nothing among them, which are refused when they are read.

    A folder of DICOM files whose name states a modality, such as `t1`, is an image, too.

    Raises
    ------
    BadCase
        If the folder cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries if is_image_entry(entry))
    except OSError as err:
        raise BadCase(f"Folder {shown_name(folder)} cannot be read: {err.strerror}: choose another.") from err
    return [folder / name for name in names]


def is_image_entry(entry: os.DirEntry[str]) -> bool:
    """Whether what lies in a folder is an image: a file, or a series of DICOM files in a folder named by modality."""
    if not entry.is_dir():
        return is_image_name(entry.name)
    return modality_of(entry.name) in MODALITIES and holds_dicom(Path(entry.path))


def folders_in(folder: Path) -> list[Path]:
    """The folders in a folder that are not hidden, by name; none where it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            return sorted(folder / e.name for e in entries if not e.name.startswith(".") and e.is_dir())
    except OSError:
        return []


def other_images_in(folder: Path) -> list[str]:
    """Names of what is no image that can be read, but seems to be one: other formats, single DICOM files.

    Of files without a known suffix the first few are looked into.
    """
    try:
        with os.scandir(folder) as entries:
            names = sorted(e.name for e in islice(entries, _SCANNED) if not e.name.startswith(".") and not e.is_dir())
    except OSError:
        return []
    foreign = [name for name in names if name.lower().endswith(FOREIGN_SUFFIXES)]
    unknown = [name for name in names if name not in foreign and not is_image_name(name)]
    looked_into = [name for name in unknown[:_PEEKED] if what_it_is(folder / name) == "a DICOM file"]
    return [*foreign, *looked_into]


def other_images_below(folder: Path) -> list[str]:
    """As `other_images_in`, for a folder and those in it."""
    return list(islice(chain(other_images_in(folder), *map(other_images_in, folders_in(folder)[:_PEEKED])), _SCANNED))
