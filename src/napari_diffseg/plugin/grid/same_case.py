"""Whether layers are of one case, as far as the files that they were read from tell."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_diffseg.imaging.names.bids import session_of
from napari_diffseg.imaging.names.naming import case_stem
from napari_diffseg.imaging.names.sequence_words import tells_protocol
from napari_diffseg.imaging.nnunet import channel_case_of
from napari_diffseg.plugin.grid.frame import METADATA_KEY, Frame

if TYPE_CHECKING:
    from napari.layers import Layer

    from napari_diffseg.imaging.case import Case


def file_of(layer: Layer) -> Path | None:
    """The file that a layer was read from, whoever read it; None where none is known."""
    frame = layer.metadata.get(METADATA_KEY)
    path = frame.volume.path if isinstance(frame, Frame) else layer.source.path
    return None if path is None else Path(path)


def case_of(layer: Layer) -> str:
    """What the name of a layer's file calls its case, in BIDS its session; empty where it does not (`T1.nii.gz`)."""
    file = file_of(layer)
    return "" if file is None else _case_named(file)


@lru_cache(maxsize=1024)
def _case_named(file: Path) -> str:
    if (numbered := channel_case_of(file)) is not None:  # nnU-Net's file of one channel
        return numbered
    stem = case_stem(file.name)
    is_series = stem.isdigit() and tells_protocol(file.name)  # of 3_t1_mprage_sag the 3 is the number of a series
    return "" if is_series else session_of(stem) or stem


def are_apart(one: str, other: str) -> bool:
    """Whether names tell two cases: `alice` and `bob`, but not `alice` and `alice_reg`, nor one and none."""
    short, long = sorted((one.casefold(), other.casefold()), key=len)
    return bool(short) and not (long.startswith(short) and not long[len(short) : len(short) + 1].isalnum())


def are_two_cases(one: Layer, other: Layer) -> bool:
    """Whether files tell that layers are of two cases: by their names, or where one has none by their folders."""
    cases = case_of(one), case_of(other)
    return are_apart(*cases) if all(cases) else _share_folder(one, other) is False


def are_one_case(one: Layer, other: Layer) -> bool:
    """Whether files tell that layers are of one case: they lie in one folder, and their names do not tell two."""
    mine, its = file_of(one), file_of(other)
    return mine is not None and its is not None and are_files_of_one_case(mine, its)


def are_files_of_one_case(one: Path, other: Path) -> bool:
    """Whether files lie in one folder, and their names do not tell two cases."""
    return one.parent == other.parent and not are_apart(_case_named(one), _case_named(other))


def is_of_other_case(layer: Layer, case: Case) -> bool:
    """Whether a layer's file tells that it is of another case; not where nothing is known of it."""
    file = file_of(layer)
    paths = [volume.path for volume in case.volumes.values() if volume.path is not None]
    if file is None or not paths:
        return False
    names = {_case_named(path) for path in paths} - {""}
    mine = _case_named(file)
    return (
        all(are_apart(mine, name) for name in names) if names and mine else file.parent not in {p.parent for p in paths}
    )


def are_same_case(one: Case, other: Case) -> bool:
    """Whether two cases have an image in common, or files that lie side by side and are named alike."""
    return any(
        np.may_share_memory(mine.data, its.data)
        or (mine.path is not None and its.path is not None and are_files_of_one_case(mine.path, its.path))
        for mine in one.volumes.values()
        for its in other.volumes.values()
    )


def is_of_case(layer: Layer, case: Case) -> bool:
    """Whether a layer shows an image of a case, or its file lies beside one of them and is named alike."""
    file, data = file_of(layer), layer.data
    for volume in case.volumes.values():
        if file is not None and volume.path is not None and are_files_of_one_case(file, volume.path):
            return True
        if isinstance(data, np.ndarray) and np.may_share_memory(data, volume.data):
            return True
    return False


def are_rivals(one: Layer, other: Layer) -> bool:
    """Whether layers of one modality may be images of one case: they are of two files of it."""
    files = file_of(one), file_of(other)
    return None not in files and files[0] != files[1] and are_one_case(one, other)


def _share_folder(one: Layer, other: Layer) -> bool | None:
    """Whether the files lie in one folder; None where one is not known."""
    mine, its = file_of(one), file_of(other)
    return None if mine is None or its is None else mine.parent == its.parent
