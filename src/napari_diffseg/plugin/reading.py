"""What napari asks for the reader of paths: images and runs become layers, a folder of cases opens in the panel."""

from __future__ import annotations

import os
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from napari_diffseg.imaging.names.dicom_files import holds_dicom
from napari_diffseg.imaging.names.listing import is_image_entry
from napari_diffseg.plugin.files import reader
from napari_diffseg.plugin.files.opened_run import looks_like_run

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_diffseg.plugin.files.reader import Paths

_SCANNED: Final = 1000
"""Entries that are looked at, of all folders together: napari waits for the answer."""
_DEEPEST: Final = 4
"""Such as data set, subject, session, kind of image."""
_MOST_OF_A_CASE: Final = 100
"""Images in one folder; where there are more, the panel tells cases apart, while napari goes on."""


def get_reader(path: Paths) -> Callable[[Paths], list[Any]] | None:
    """The reader of these paths, or None at once where one of them is not ours.

    As `files.reader.get_reader`; and a folder is ours, too, where there are images below it.
    """
    folder = _one_folder(path)
    if folder is None or looks_like_run(folder) or holds_dicom(folder):
        return reader.get_reader(path)
    return read_folder if _holds_images(folder) else None


def read_folder(path: Paths) -> list[Any]:
    """The layers of a folder's one case; a folder of several opens in the panel, which lists them, and gives no layer.

    Raises
    ------
    BadImage
        If a file is damaged, too large, or no image.
    BadCase
        If it holds no case, or several and there is no window.
    """
    from napari import current_viewer

    from napari_diffseg.imaging.case_files import cases_in_folder

    folder, viewer = _one_folder(path), current_viewer()
    if folder is None or viewer is None or (not _holds_many(folder) and len(cases_in_folder(folder)) == 1):
        return reader.read_layers(path)
    from napari_diffseg.plugin.opening import panel_of

    panel_of(viewer).open_case([str(folder)])
    return [(None,)]


def _one_folder(path: Paths) -> Path | None:
    """The folder that is meant; None for files, and for several paths."""
    paths = [path] if isinstance(path, str | os.PathLike) else list(path)
    folder = Path(paths[0]) if len(paths) == 1 else None
    return folder if folder is not None and folder.is_dir() else None


def _holds_many(folder: Path) -> bool:
    """Whether there are more images in a folder than of one case."""
    with suppress(OSError), os.scandir(folder) as entries:
        return any(n >= _MOST_OF_A_CASE for n, _ in enumerate(filter(is_image_entry, entries)))
    return False


def _holds_images(folder: Path) -> bool:
    """Whether there is an image in a folder or below it, as far as is looked; opens none."""
    left, waiting = _SCANNED, deque([(folder, 1)])
    while waiting and left > 0:
        path, depth = waiting.popleft()
        with suppress(OSError), os.scandir(path) as entries:  # who reads it says what is wrong
            for entry in entries:
                left -= 1
                if is_image_entry(entry):
                    return True
                if depth < _DEEPEST and not entry.name.startswith(".") and entry.is_dir():
                    waiting.append((Path(entry.path), depth + 1))
                if left <= 0:
                    break
    return False
