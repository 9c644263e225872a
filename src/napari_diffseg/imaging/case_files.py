"""The cases that a path holds, before any image is read: one, or those of a folder, each with a name of its own."""

from __future__ import annotations

import logging
import os
import re
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from napari_diffseg.errors import BadCase, BadRequest, Remedy
from napari_diffseg.imaging.dataset_json import channels_said_for
from napari_diffseg.imaging.names.bids import session_of
from napari_diffseg.imaging.names.dicom_files import holds_dicom
from napari_diffseg.imaging.names.grouping import Group, case_id_of, group_images, is_picked
from napari_diffseg.imaging.names.listing import (
    folders_in,
    images_in,
    is_image_entry,
    other_images_below,
    other_images_in,
)
from napari_diffseg.imaging.names.naming import (
    MODALITIES,
    REFERENCE,
    RUN_RECORD,
    file_stem,
    folder_case_name,
    modality_named,
    modality_of,
    naming_folder,
    printable,
    read_name,
    shown_name,
)
from napari_diffseg.imaging.names.pattern import Pattern
from napari_diffseg.imaging.nnunet import channel_said_for, nnunet_cases

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

logger = logging.getLogger(__name__)

_SCANNED = 1000
_NAMED = 5
_DEEPEST = 6
_NOT_SEARCHED = Pattern(r"derivatives|sourcedata|code|labels(?:tr|ts|val)?|masks?|ground_?truth|segmentations?", re.I)
"""Folders in which no images to segment are looked for, unless they are named."""
_SERIES_IN_FOLDERS = "put a DICOM series into a folder that is called by its modality (t1, flair)"
_OTHER_DATA = Pattern(r"dwi|func|perf|fmap|swi|meg|eeg|pet|beh|asl|dti|bold|members", re.IGNORECASE)
"""Folders of images that nobody expects to be taken, by the names that BIDS has for them."""
_TRAINED_ON, _TESTED = "imagesTr", "imagesTs"


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
    refused : BadCase or None
        Why it cannot be read, where that is known already.
    """

    name: str
    source: Path | Mapping[str, Path]
    folder: Path
    refused: BadCase | None = None

    @property
    def shown(self) -> Path:
        """What to call it in a message: the path that is its own, else its folder."""
        return self.source if isinstance(self.source, Path) else self.folder

    def readable(self) -> Path | Mapping[str, Path]:
        """Its source.

        Raises
        ------
        BadCase
            If it is known that it cannot be read.
        """
        if self.refused is not None:
            raise self.refused
        return self.source


def find_case_files(
    folder: Path, modalities: Sequence[str] | None = None, *, pick: Sequence[str] = ()
) -> dict[str, Path]:
    """The images of the one case in a folder, by modality; "seg" is the reference mask, where there is one.

    Images whose names state no modality are left out; so is a mask of several.

    Parameters
    ----------
    folder : Path
        Of the case.
    modalities : sequence of str, optional
        Those that are looked for; several images may be one of the others.
    pick : sequence of str
        Which of several images to take, see `Group.files`.

    Raises
    ------
    BadCase
        If the folder cannot be read, holds no image with a modality in its name, or several cases, or several images
        for one modality that is looked for.
    """
    folder = Path(folder)
    if not images_in(folder) and (series := _series_by_modality(folder)):
        return series
    return _only_group(folder).files(modalities, pick)


def find_case_images(folder: Path) -> list[tuple[Path, str]]:
    """All images of the one case in a folder with what each shows, canonical modalities first, its masks ("seg") last.

    Unlike `find_case_files` it chooses none of several that may be one modality.

    Raises
    ------
    BadCase
        If the folder cannot be read, holds no image with a modality in its name, or several cases.
    """
    group = _only_group(Path(folder))
    images = [(path, m) for m in MODALITIES for path in group.images.get(m, [])]
    return [*images, *((path, REFERENCE) for path in group.masks)]


def modality_said_for(path: Path) -> str | None:
    """What one file shows: by its name, or, for nnU-Net's file of a channel, by the `dataset.json` beside or above."""
    said = modality_of(path.name)
    return channel_said_for(path) if said is None else said


def _only_group(folder: Path) -> Group:
    images = images_in(folder)
    groups = _grouped(folder, images, MODALITIES)
    if not groups:
        raise _no_images(folder, images)
    if len(groups) > 1:
        raise BadCase(
            f"Folder {shown_name(folder)} holds {len(groups)} cases ({_listed([group.name for group in groups])}): "
            "give each a folder of its own, or name the files of one by their modality.",
            Remedy("image", "t1=FILE"),
        )
    return groups[0]


def masks_in(folder: Path) -> list[Path]:
    """The masks beside the images of the one case in a folder, by their names; none where it is not one case."""
    try:
        groups = _grouped(folder, images_in(folder), MODALITIES)
    except BadCase:
        return []
    return list(groups[0].masks) if len(groups) == 1 else []


def warn_of_unread(folder: Path, missing: Sequence[str]) -> None:
    """Name the images of a folder that are in no use, where a modality is missing: it may be among them."""
    if not missing:
        return
    unclear = [shown_name(p) for p in images_in(folder) if read_name(p.name).modality is None]
    there = f"Folder {shown_name(folder)}: there is no {', '.join(missing)}, and"
    for names, why in (
        (unclear, "whose name does not clearly say what it is"),
        (other_images_in(folder), f"which is not read so: {_SERIES_IN_FOLDERS}, convert other formats to NIfTI"),
    ):
        if names:
            more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
            logger.warning("%s %s%s is not used, %s.", there, ", ".join(names[:_NAMED]), more, why)


def looks_like_case(path: Path) -> bool:
    """Whether a folder holds an image with a modality in its name; looks at a thousand entries, opens no image."""
    try:
        with os.scandir(path) as entries:
            return any(
                modality_of(e.name) in MODALITIES and is_image_entry(e)
                for _, e in zip(range(_SCANNED), entries, strict=False)
            )
    except OSError:
        return False


def find_case_sources(
    path: Path,
    *,
    modalities: Sequence[str] = MODALITIES,
    channels: Sequence[str] | None = None,
    pick: Sequence[str] = (),
    on_folder: Callable[[Path], None] = lambda _: None,
) -> list[CaseFiles]:
    """The cases that are meant by a path.

    A file is one. A folder holds the files of one case, those of several, told apart by how their names begin, a file
    for each channel as nnU-Net has it, or, where channels are named or `dataset.json` says them, 4-D files; or a folder
    for each modality; else the folders in it are searched, such as those of a BIDS data set.

    Parameters
    ----------
    path : Path
        File or folder.
    modalities : sequence of str
        Those that are looked for.
    channels : sequence of str, optional
        What channels are, in their order.
    pick : sequence of str
        Which of several images of one modality to take, see `Group.files`.
    on_folder : callable
        Told of each folder before it is looked at; what it raises ends the search.

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
    search = _Search(tuple(modalities), channels, tuple(pick), on_folder)
    if here := search.in_folder(path):
        return here
    passed: list[Path] = []
    below = search.each_once(list(search.below(path, passed)))
    if passed and not images_in(path):
        names = ", ".join(str(p.relative_to(path)) for p in passed[:_NAMED])
        more = f" and {len(passed) - _NAMED} more" if len(passed) > _NAMED else ""
        if not below:
            raise BadCase(
                f"Folder {shown_name(path)} holds no case: in {names}{more} there are images, and no name says which "
                "is t1, t1ce, t2 or flair: rename the files, or say what each of them is.",
                Remedy("image", "t1=FILE"),
            )
        logger.warning("Folder %s: %s%s is passed over, as no name there states a modality.", path.name, names, more)
    return below or [CaseFiles(folder_case_name(path), path, path)]


def cases_in_folder(
    folder: Path,
    *,
    modalities: Sequence[str] = MODALITIES,
    channels: Sequence[str] | None = None,
    pick: Sequence[str] = (),
) -> list[CaseFiles]:
    """The cases whose files lie in a folder itself, as `find_case_sources` tells them apart; none where there are none.

    Raises
    ------
    BadCase
        If its images may be of one case or of several.
    """
    return _Search(tuple(modalities), channels, tuple(pick)).in_folder(folder)


def each_patient_once(cases: Sequence[CaseFiles], *, pick: Sequence[str] = ()) -> list[CaseFiles]:
    """The cases of several folders; images of one patient in two of them, such as raw and preprocessed, are one case.

    It is refused when it is read, where `pick` does not choose a folder.
    """
    return _Search(MODALITIES, None, tuple(pick)).each_once(cases)


def may_hold_cases(folder: Path) -> bool:
    """Whether cases are looked for in a folder: not where masks, results or what was derived is kept."""
    return not _NOT_SEARCHED.fullmatch(folder.name) and not _is_run(folder)


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
        Of the case; by default that of BIDS, subject and session, else that of the first file's folder.

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
            raise BadRequest(f"Image {word}: give MODALITY=FILE, the modality one of {', '.join(known)}.")
        if modality in files:
            raise BadRequest(f"Image {modality} is named twice ({files[modality]} and {path}): leave one.")
        files[modality] = Path(path)
    first = next(iter(files.values()))
    called = name if name is not None else session_of(file_stem(first.name)) or folder_case_name(first.parent)
    if Path(called).name != called or printable(called) != called:
        raise BadRequest(
            f"The case's name {called!r} can be no folder's name: give one without separators, and "
            "without blanks or dots at its begin.",
            Remedy("name"),
        )
    return CaseFiles(called, files, first.parent)


def told_apart(cases: Sequence[CaseFiles]) -> list[CaseFiles]:
    """The cases, those that share a name by the nearest folders that tell them apart, where there are such.

    The folder's name comes before the case's own, which alone may be that of every case (`brain`) or of one in each
    site (`p1`).
    """
    alike: dict[str, list[CaseFiles]] = defaultdict(list)
    for case in cases:
        alike[case.name].append(case)
    names = {id(case): name for group in alike.values() for case, name in zip(group, _own_names(group), strict=True)}
    return [replace(case, name=names[id(case)]) for case in cases]


@dataclass(frozen=True, slots=True)
class _Search:
    """What is looked for, and how several images of one modality are chosen from."""

    modalities: tuple[str, ...]
    channels: Sequence[str] | None
    pick: tuple[str, ...]
    on_folder: Callable[[Path], None] = lambda _: None

    def in_folder(self, folder: Path) -> list[CaseFiles]:
        """The cases whose files lie in a folder itself, or in one folder for each modality."""
        if cases := nnunet_cases(folder, modalities=self.modalities, channels=self.channels):
            return [CaseFiles(printable(name), files, folder) for name, files in cases.items()]
        images = images_in(folder)
        groups = _grouped(folder, images, self.modalities)
        if not groups and images and (self.channels is not None or channels_said_for(images[0]) is not None):
            return [CaseFiles(case_id_of([p]), p, folder) for p in images if modality_of(p.name) is None]
        if len(groups) == 1:
            return [
                CaseFiles(printable(groups[0].name) if groups[0].name else folder_case_name(folder), folder, folder)
            ]
        if groups:
            return self._of_groups(folder, groups)
        if series := _series_by_modality(folder):
            return [CaseFiles(folder_case_name(folder.parent), series, folder.parent)]
        return self._by_folders(folder) if not images else []

    def _of_groups(self, folder: Path, groups: Sequence[Group]) -> list[CaseFiles]:
        cases = [self._of_group(folder, group) for group in groups]
        given = [case.source for case in cases if not isinstance(case.source, Path)]
        warn_of_unread(folder, [m for m in self.modalities if not all(m in files for files in given)])
        return cases

    def _of_group(self, folder: Path, group: Group) -> CaseFiles:
        name = printable(group.name)
        try:
            return CaseFiles(name, group.files(self.modalities, self.pick), folder)
        except BadCase as err:
            return CaseFiles(name, {}, folder, refused=err)

    def _by_folders(self, folder: Path) -> list[CaseFiles]:
        """Cases of which each modality has a folder: by the names of these folders, or of the one image in each."""
        by_name = [(child, m) for child in folders_in(folder) if (m := read_name(child.name).modality) in MODALITIES]
        inside = [(child, str(m), _images_of_modality(child)) for child, m in by_name]
        inside = [(child, m, images) for child, m, images in inside if images]
        if len({m for _, m, _ in inside}) > 1 and all(_shows(p, m) for _, m, images in inside for p in images):
            return self._of_modality_folders(folder, inside)
        children = [child for child in folders_in(folder) if looks_like_case(child)]
        if len(children) < 2 or len(self.modalities) < 2:
            return []
        stated = [[(p, m) for p in images_in(child) if (m := modality_of(p.name)) in MODALITIES] for child in children]
        if all(len(images) == 1 for images in stated):
            return [_of_one_case(folder, children, [image for images in stated for image in images])]
        return []

    def _of_modality_folders(self, folder: Path, inside: Sequence[tuple[Path, str, list[Path]]]) -> list[CaseFiles]:
        """T1/, FLAIR/ ... of one case, with an image each, or of several, with images of the same names."""
        groups: dict[str, Group] = defaultdict(lambda: Group(""))
        alone = all(len(images) == 1 for _, _, images in inside)
        for _, modality, images in inside:
            for path in images:
                key = "" if alone else read_name(path.name).case or file_stem(path.name)
                groups[key].name = key
                groups[key].images.setdefault(modality, []).append(path)
        if alone and "" in groups:
            groups[""].name = folder_case_name(folder)
        return [self._of_group(folder, group) for group in groups.values()]

    def below(self, path: Path, passed: list[Path], depth: int = 1) -> Iterator[CaseFiles]:
        """The cases in the folders in a folder; one that is unclear is refused when it is read, and costs no other.

        Folders with images that are no case are added to `passed`.
        """
        folders = [f for f in folders_in(path) if not _NOT_SEARCHED.fullmatch(f.name) and not _is_run(f)]
        if {_TRAINED_ON, _TESTED} <= {f.name for f in folders}:
            raise BadCase(
                f"Folder {shown_name(path)} holds {_TRAINED_ON} and {_TESTED}: name the one whose cases are meant."
            )
        for folder in folders:
            self.on_folder(folder)
            try:
                found = self.in_folder(folder)
            except BadCase as err:
                found = [CaseFiles(folder_case_name(folder), folder, folder, refused=err)]
            if found:
                yield from found
                continue
            if _has_images(folder) and not _OTHER_DATA.fullmatch(folder.name):
                passed.append(folder)
            if depth < _DEEPEST:
                yield from self.below(folder, passed, depth + 1)

    def each_once(self, found: Sequence[CaseFiles]) -> list[CaseFiles]:
        """The cases, those whose images lie in several folders of one patient, such as raw and preprocessed, once."""
        alike: dict[tuple[str, Path], list[CaseFiles]] = defaultdict(list)
        for case in found:
            alike[_patient_of(case)].append(case)
        return [self._one_of(group) for group in alike.values()]

    def _one_of(self, group: Sequence[CaseFiles]) -> CaseFiles:
        picked = [case for case in group if is_picked(case.folder / "", self.pick)] if len(group) > 1 else []
        first, *others = picked or group
        name, patient = _patient_of(first)
        if not others:
            return replace(first, name=name) if len(group) > 1 else first
        places = [os.path.relpath(case.folder, patient).replace(os.sep, "/") for case in (first, *others)]
        refused = BadCase(
            f"Case {name}: there are images of it in {', '.join(places[:-1])} and {places[-1]}: say which are "
            "meant, or name the folder that holds them.",
            Remedy("pick", f"'*/{places[-1]}/*'"),
        )
        return CaseFiles(name, patient, patient, refused=refused)


def _series_by_modality(folder: Path) -> dict[str, Path]:
    """A folder that is one image: it is called by a modality and holds DICOM files. Empty where it is none."""
    modality = modality_of(folder.name)
    return {modality: folder} if modality in MODALITIES and holds_dicom(folder) else {}


def _grouped(folder: Path, images: Sequence[Path], modalities: Sequence[str]) -> list[Group]:
    try:
        return group_images(images, modalities)
    except BadCase as err:
        raise BadCase(f"Folder {shown_name(folder)} holds {err}", *err.remedies) from err


def _no_images(folder: Path, images: Sequence[Path]) -> BadCase:
    """What a folder holds, in which no image states its modality."""
    if not images and (foreign := other_images_below(folder)):
        names = ", ".join(map(shown_name, foreign[:_NAMED]))
        return BadCase(
            f"Folder {shown_name(folder)} holds no image that is read, but {names}: "
            f"{_SERIES_IN_FOLDERS}, or say what this one is; convert other formats to NIfTI (.nii.gz).",
            Remedy("image", "t1=FOLDER"),
        )
    if not images:
        return BadCase(f"Folder {shown_name(folder)} holds no images at all: name the folder of a case, or of several.")
    return BadCase(
        f"Folder {shown_name(folder)} holds no image with t1, t1ce, t2 or flair in its name, but "
        f"{', '.join(map(shown_name, images[:_NAMED]))}: rename the files, or say what each of them is.",
        Remedy("image", "t1=FILE"),
        Remedy("channels"),
    )


def _images_of_modality(folder: Path) -> list[Path]:
    """The images in a folder that is called by a modality, or in the only folder in it."""
    try:
        images = images_in(folder)
        inner = folders_in(folder) if not images else []
        images = images_in(inner[0]) if len(inner) == 1 else images
    except BadCase:
        return []
    return [path for path in images if read_name(path.name).modality != REFERENCE and not read_name(path.name).is_map]


def _shows(path: Path, modality: str) -> bool:
    """Whether an image may be of the modality that its folder is called by."""
    return read_name(path.name).modality in (None, modality)


def _has_images(folder: Path) -> bool:
    """Whether there are images in a folder whose names do not say that they are masks."""
    try:
        named = [read_name(path.name) for path in images_in(folder)]
    except BadCase:
        return False
    return any(name.modality != REFERENCE and not name.is_map for name in named)


def _patient_of(case: CaseFiles) -> tuple[str, Path]:
    """What a case is called, and the folder that it is called by; beside `orig` a folder `pre` is no visit."""
    folder = naming_folder(case.folder)
    beside = {child.name.lower() for child in folders_in(folder.parent)} if folder.name.lower() == "pre" else set()
    if beside & {"orig", "original", "raw"}:
        return folder_case_name(folder.parent), naming_folder(folder.parent)
    return case.name, folder


def _is_run(folder: Path) -> bool:
    """Whether a folder holds results."""
    return (folder / RUN_RECORD).is_file()


def _listed(stems: Sequence[str]) -> str:
    return ", ".join(stem or "one without a name" for stem in stems[:_NAMED])


def _own_names(group: Sequence[CaseFiles]) -> list[str]:
    same = [case.name for case in group]
    if len(group) == 1:
        return same
    folders = [(folder := Path(os.path.abspath(case.folder)), *folder.parents) for case in group]
    for level in zip(*folders, strict=False):
        names = [printable(folder.name) for folder in level]
        if all(folder.name for folder in level) and len(set(names)) == len(names):
            return [f"{name}_{case.name}" for name, case in zip(names, group, strict=True)]
    return same


def _of_one_case(path: Path, folders: Sequence[Path], stated: Sequence[tuple[Path, str]]) -> CaseFiles:
    """Folders of one image each: those of one case, as BraTS had it until 2016."""
    stems = {read_name(p.name).before for p, _ in stated}
    modalities = [m for _, m in stated]
    if len(stems) > 1 or len(set(modalities)) < len(modalities):
        raise BadCase(
            f"The folders in {shown_name(path)} hold one image each ({', '.join(shown_name(f) for f in folders[:5])}): "
            "put the images of a case into one folder, or name the folders one by one."
        )
    stem = stems.pop()
    files = {m: p for wanted in MODALITIES for p, m in stated if m == wanted}
    return CaseFiles(printable(stem) if stem else folder_case_name(path), files, path)
