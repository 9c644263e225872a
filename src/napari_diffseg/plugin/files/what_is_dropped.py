"""What is said of dropped files and folders that cannot be opened as one case."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from napari_diffseg.errors import BadCase
from napari_diffseg.imaging.case_files import looks_like_case
from napari_diffseg.imaging.names.naming import shown_name
from napari_diffseg.plugin.files.reader import get_reader

if TYPE_CHECKING:
    from collections.abc import Iterable

_NAMED: Final = 5
"""Folders that a sentence names."""
_SCANNED: Final = 1000
"""Entries of a folder that are looked at."""


def check_is_case(paths: Iterable[str]) -> None:
    """Refuse what is no case before it is read, with what to open instead.

    Raises
    ------
    BadCase
        If a path is neither an image nor a folder, or a folder whose sub-folders are cases.
    """
    for path in map(Path, paths):
        if get_reader(str(path)) is not None:
            continue
        if not path.is_dir():
            raise BadCase(f"{shown_name(path)} is not an image: open the images of a case (NIfTI), or their folder.")
        if cases := _cases_in(path):
            more = f" and {len(cases) - _NAMED} more" if len(cases) > _NAMED else ""
            named = ", ".join(cases[:_NAMED])
            raise BadCase(
                f"Folder {shown_name(path)} holds no images itself, but folders of cases: open one of {named}{more}."
            )


def _cases_in(folder: Path) -> list[str]:
    """Names of the folders in a folder that hold images with a modality in their names."""
    try:
        with os.scandir(folder) as entries:
            inner = [Path(e.path) for _, e in zip(range(_SCANNED), entries, strict=False) if e.is_dir()]
    except OSError:  # who reads it says why
        return []
    return [shown_name(path) for path in sorted(inner) if looks_like_case(path)]
