"""What dropped files and folders hold: one case, several, or none, and then what is said of it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from napari_diffseg.errors import BadCase
from napari_diffseg.imaging.case_files import find_case_sources, looks_like_case
from napari_diffseg.imaging.names.dicom_files import holds_dicom
from napari_diffseg.imaging.names.naming import shown_name
from napari_diffseg.plugin.files.opened_run import looks_like_run
from napari_diffseg.plugin.files.reader import get_reader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from napari_diffseg.imaging.case_files import CaseFiles

_NAMED: Final = 5
"""Folders that a sentence names."""
_SCANNED: Final = 1000
"""Entries of a folder that are looked at."""
_TRAINED_ON_AND_TESTED: Final = ("imagesTr", "imagesTs")
"""nnU-Net's and the Decathlon's folders of images: to look at cases, both are meant."""


def cases_of_folder(
    paths: Sequence[str], *, modalities: Sequence[str], on_folder: Callable[[Path], None] = lambda _: None
) -> list[CaseFiles]:
    """The cases that are to be chosen from where a folder was dropped; none where it is one that opens by itself.

    Parameters
    ----------
    paths : sequence of str
        What was dropped.
    modalities : sequence of str
        Those of the checkpoint.
    on_folder : callable
        Told of each folder before it is looked at; what it raises ends the search.
    """
    path = Path(paths[0]) if len(paths) == 1 else None
    if path is None or not path.is_dir() or looks_like_run(path) or holds_dicom(path):
        return []
    try:
        cases = [
            case
            for root in _roots(path)
            for case in find_case_sources(root, modalities=modalities, on_folder=on_folder)
        ]
    except (BadCase, OSError):  # who reads it as one case says what is wrong
        return []
    return [] if [case.source for case in cases] == [path] else cases


def _roots(path: Path) -> list[Path]:
    both = [path / name for name in _TRAINED_ON_AND_TESTED]
    return both if all(root.is_dir() for root in both) else [path]


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
