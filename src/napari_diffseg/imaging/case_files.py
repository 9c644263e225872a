"""The cases that a path holds, before any image is read: one, or those of a folder, each with a name of its own."""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

from napari_diffseg.errors import BadCase, BadRequest
from napari_diffseg.imaging.naming import (
    MODALITIES,
    REFERENCE,
    by_modality,
    case_id_of,
    case_stem,
    find_case_files,
    images_in,
    looks_like_case,
    modality_named,
    modality_of,
    printable,
    shown_name,
    warn_of_unread,
)
from napari_diffseg.imaging.nnunet import nnunet_cases

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, slots=True)
class CaseFiles:
    """Where a case lies.

    Attributes
    ----------
    name : str
        What it is called.
    source : Path or mapping of str to Path
        A folder or a file, or files by modality; as `read_case` takes it.
    folder : Path
        That its files lie in.
    """

    name: str
    source: Path | Mapping[str, Path]
    folder: Path

    @property
    def shown(self) -> Path:
        """What to call it in a message: the path that is its own, else its folder."""
        return self.source if isinstance(self.source, Path) else self.folder


def find_case_sources(
    path: Path, *, modalities: Sequence[str] = MODALITIES, channels: Sequence[str] | None = None
) -> list[CaseFiles]:
    """The cases that are meant by a path.

    A file is one. A folder holds the files of one case, those of several, told apart by how their names begin, a file
    for each channel as nnU-Net has it, or, where channels are named, 4-D files; else each folder in it is looked at.

    Parameters
    ----------
    path : Path
        File or folder.
    modalities : sequence of str
        Those that are looked for.
    channels : sequence of str, optional
        What channels are, in their order.

    Returns
    -------
    list of CaseFiles
        At least one; that it can be read is not promised.

    Raises
    ------
    BadCase
        If the folder cannot be read, or its images may be of one case or of several; not for a folder in it.
    """
    if not path.is_dir():
        return [CaseFiles(case_id_of([path]), path, path.parent)]
    if here := _cases_in(path, modalities, channels):
        return here
    folders = [folder for folder in _folders_in(path) if looks_like_case(folder)]
    below = [case for folder in folders for case in _cases_below(folder, modalities, channels)]
    if len(below) > 1 and len(modalities) > 1 and all(len(_images(folder)) == 1 for folder in folders):
        return [_of_one_case(path, folders)]
    if not below and not images_in(path) and (further := [f for f in _folders_in(path) if _leads_to_images(f)]):
        raise BadCase(
            f"Folder {shown_name(path)} holds no image, and no case folder with t1, t1ce, t2 or flair in its files' "
            f"names: name one that is nearer to the images ({', '.join(shown_name(f) for f in further[:5])})."
        )
    return below or [CaseFiles(printable(_tidied(path).name), path, path)]


def case_of_images(
    words: Sequence[str], *, modalities: Sequence[str] = MODALITIES, name: str | None = None
) -> CaseFiles:
    """A case of files whose modality the user names.

    Parameters
    ----------
    words : sequence of str
        `MODALITY=FILE` each, one at least; the modality in any spelling, or "seg".
    modalities : sequence of str
        Those that are looked for.
    name : str, optional
        Of the case; that of the first file's folder by default.

    Raises
    ------
    BadRequest
        If a word is none such, a modality is not known or named twice, or the name is none for a folder.
    """
    known = tuple(dict.fromkeys((*modalities, *MODALITIES, REFERENCE)))
    files: dict[str, Path] = {}
    for word in words:
        said, equals, path = word.partition("=")
        modality = modality_named(said, known)
        if not equals or not path or modality not in known:
            raise BadRequest(f"--image {word}: give MODALITY=FILE, the modality one of {', '.join(known)}.")
        if modality in files:
            raise BadRequest(f"--image names {modality} twice ({files[modality]} and {path}): leave one.")
        files[modality] = Path(path)
    folder = next(iter(files.values())).parent
    called = printable(name if name is not None else _tidied(folder).name) or "case"
    if Path(called).name != called or called == "..":
        raise BadRequest(f"--name {called} can be no folder's name: give one without separators.")
    return CaseFiles(called, files, folder)


def told_apart(cases: Sequence[CaseFiles]) -> list[CaseFiles]:
    """The cases, those that share a name by the nearest folders that tell them apart, where there are such."""
    alike: dict[str, list[CaseFiles]] = defaultdict(list)
    for case in cases:
        alike[case.name].append(case)
    names = {id(case): name for group in alike.values() for case, name in zip(group, _own_names(group), strict=True)}
    return [replace(case, name=names[id(case)]) for case in cases]


def _tidied(path: Path) -> Path:
    """The absolute path, in which a folder given as `..` has its name."""
    return Path(os.path.abspath(path))


def _folders_in(path: Path) -> list[Path]:
    try:
        return sorted(p for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))
    except OSError:
        return []


def _leads_to_images(folder: Path) -> bool:
    """Whether there are images in a folder, or cases in those in it."""
    try:
        return bool(images_in(folder)) or any(map(looks_like_case, _folders_in(folder)))
    except BadCase:
        return False


def _own_names(group: Sequence[CaseFiles]) -> list[str]:
    same = [case.name for case in group]
    if len(group) == 1:
        return same
    folders = [(folder := _tidied(case.folder), *folder.parents) for case in group]
    for level in zip(*folders, strict=False):
        names = [printable(folder.name) for folder in level]
        if all(names) and len(set(names)) == len(names):
            return names
    return same


def _images(folder: Path) -> list[tuple[Path, str]]:
    """The images in a folder whose names state a modality."""
    return [(p, m) for p in images_in(folder) if (m := modality_of(p.name)) in MODALITIES]


def _cases_in(folder: Path, modalities: Sequence[str], channels: Sequence[str] | None) -> list[CaseFiles]:
    if cases := nnunet_cases(folder, modalities=modalities, channels=channels):
        return [CaseFiles(printable(name), files, folder) for name, files in cases.items()]
    images = _images(folder)
    if not images and channels is not None:
        return [CaseFiles(case_id_of([p]), p, folder) for p in images_in(folder) if modality_of(p.name) is None]
    groups: dict[str, set[str]] = defaultdict(set)
    for path, modality in images:
        groups[case_stem(path.name)].add(modality)
    if len(groups) <= 1:
        return [CaseFiles(case_id_of([p for p, _ in images]), folder, folder)] if images else []
    if not _are_cases(groups, modalities):
        find_case_files(folder)  # says why it is not one case
    stated = [(p, m) for p in images_in(folder) if (m := modality_of(p.name)) is not None]
    by_stem = {stem: by_modality(one for one in stated if case_stem(one[0].name) == stem) for stem in groups}
    warn_of_unread(folder, [m for m in modalities if not all(m in files for files in by_stem.values())])
    return [CaseFiles(printable(stem), files, folder) for stem, files in by_stem.items()]


def _cases_below(folder: Path, modalities: Sequence[str], channels: Sequence[str] | None) -> list[CaseFiles]:
    """The cases of one folder among others; one that is unclear is refused when it is read, and costs no other."""
    try:
        return _cases_in(folder, modalities, channels)
    except BadCase:
        return [CaseFiles(printable(folder.name), folder, folder)]


def _are_cases(groups: Mapping[str, set[str]], modalities: Sequence[str]) -> bool:
    """Whether files with different beginnings are of different cases, rather than sequences of one.

    Of `T1_MPRAGE` and `T2_TSE` they are not: cases have a name, each two have a modality in common, and one of several
    modalities has several images.
    """
    if "" in groups or not all(one & other for one, other in combinations(groups.values(), 2)):
        return False
    return len(modalities) == 1 or all(len(group) > 1 for group in groups.values())


def _of_one_case(path: Path, folders: Sequence[Path]) -> CaseFiles:
    """Folders of one image each: those of one case, as BraTS had it until 2016."""
    stated = [image for folder in folders for image in _images(folder)]
    stems = {case_stem(p.name) for p, _ in stated}
    if len(stems) > 1:
        raise BadCase(
            f"The folders in {shown_name(path)} hold one image each ({', '.join(shown_name(f) for f in folders[:5])}): "
            "put the images of a case into one folder, or name the folders one by one."
        )
    return CaseFiles(printable(stems.pop() or _tidied(path).name), by_modality(stated), path)
