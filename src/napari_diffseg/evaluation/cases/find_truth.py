"""Which masks that people drew belong to a case: by its name, by what their names say, by where they lie."""

from __future__ import annotations

import glob
import os
import re
from collections import defaultdict
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

from napari_diffseg.errors import BadCase, Remedy
from napari_diffseg.imaging.case_files import CaseFiles, find_case_sources, told_apart
from napari_diffseg.imaging.names.naming import (
    MODALITIES,
    REFERENCE,
    RUN_RECORD,
    file_stem,
    folder_case_name,
    is_image_name,
    is_machine_made,
    printable,
    read_name,
    shown_name,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

READER_PATTERN: Final = "{case}_reader*.nii*"
"""Names of several readers' masks, where no other pattern is given; {case} stands for the case's name."""

_OF_MASKS: Final = re.compile(
    r"(?:labels?|masks?|segs?|segmentations?|truth|gt|ground_?truth|annotations?|manual|rois?|lesions?)(?:tr|ts|val)?"
    r"|derivatives",
    re.IGNORECASE,
)
"""Folders in which a file that is called by its case alone is a mask."""
_READER: Final = re.compile(
    r"(?<![a-z0-9])(?:(?:readers?|raters?|observers?|obs|experts?|annotators?|radiologists?)[-_ ]?[a-z0-9]{0,2}"
    r"|manual(?:seg[a-z]*|mask)?[-_ ]?\d{1,2})(?![a-z0-9])",
    re.IGNORECASE,
)
"""Words that say whose mask it is."""
_AGREED: Final = re.compile(r"consensus|majority|staple|fused|fusion|agreed", re.IGNORECASE)
_DEEPEST: Final = 8
_NAMED: Final = 5


def find_truth(folder: Path, case_id: str, *, reader_pattern: str | None = None) -> tuple[Path, ...]:
    """The truth of one case: several readers' masks where there are, else the one reference mask.

    See `TruthFolder.of`; of many cases in one folder a `TruthFolder` looks through it once.
    """
    return TruthFolder(folder, reader_pattern=reader_pattern).of(case_id)


class TruthFolder:
    """A folder with the masks that people drew, of one case or of many, beside images or without.

    Parameters
    ----------
    folder : Path
        Of the truth; the tree of the images that were segmented will do, and nnU-Net's `imagesTr` stands for its
        `labelsTr`, too.
    reader_pattern : str, optional
        Names of the readers' masks, with `*` and `{case}`; when it is given, nothing else will do.
    """

    def __init__(self, folder: Path, *, reader_pattern: str | None = None) -> None:
        self.folder = Path(folder)
        self.reader_pattern = reader_pattern

    def of(self, case_id: str) -> tuple[Path, ...]:
        """The masks of one case, several where several readers drew them.

        In this order they are looked for: readers by the pattern, in FOLDER/<case>/ and FOLDER; there the reference, as
        a file whose name says that it is one (`<case>_seg.nii.gz`), or is the case's alone (`<case>.nii.gz`); masks
        anywhere below, whose names tell the case, or that lie in a folder of its name; and those beside its images.
        Masks of the brain are none; one that a machine made counts only where there is no other.

        Parameters
        ----------
        case_id : str
            The prediction's name.

        Raises
        ------
        BadCase
            If there is none, or several could be it.
        """
        places = [p for p in (self.folder / case_id, self.folder) if p.is_dir()]
        pattern = (self.reader_pattern or READER_PATTERN).replace("{case}", glob.escape(case_id))
        for place in places:
            if readers := sorted(place.glob(pattern), key=_natural):
                return tuple(readers)
        if self.reader_pattern is not None:
            return self._by_pattern(case_id, pattern)
        for place in places:
            images = self._in(place)
            if found := _references(
                images, case_id, alone=place != self.folder, may_be_images=place in self._of_images
            ):
                return _one_or_readers(case_id, found)
        for found in (self._by_name[case_id], self._by_folder[case_id], self._beside_images(case_id)):
            if found:
                return _one_or_readers(case_id, found)
        raise self._nothing(case_id)

    def cases(self) -> set[str]:
        """Names of the cases that it holds the truth of.

        In a folder without images, masks that are called by their case alone are references, too; masks that are called
        as several readers' are not.

        Raises
        ------
        BadCase
            If the folder cannot be read.
        """
        self.check_readable()
        readers = (self.reader_pattern or READER_PATTERN).replace("{case}", "*")
        return {name for path in self._masks if not fnmatch(path.name, readers) for name in [self._case_of(path)]}

    def unused(self, cases: Iterable[str]) -> set[str]:
        """Names of the cases that it holds the truth of, and that are none of these."""
        used: set[Path] = set()
        for case_id in cases:
            try:
                used.update(self.of(case_id))
            except BadCase:
                continue
        known = set(cases) | {self._case_of(path) for path in used}
        return {name for name in self.cases() if name not in known}

    @cached_property
    def _images(self) -> dict[Path, list[Path]]:
        """All images of the tree, by folder."""
        roots = [self.folder, *_labels_beside(self.folder)]
        return {folder: files for root in roots for folder, files in _walk(root)}

    @cached_property
    def _masks(self) -> list[Path]:
        """All files that are masks: by their name, or by their folder's where no image lies in it."""
        return [path for folder, files in self._images.items() for path in files if self._is_mask(folder, path)]

    def _is_mask(self, folder: Path, path: Path) -> bool:
        said = read_name(path.name)
        if said.modality is not None or said.is_map:
            return said.modality == REFERENCE
        return folder in self._without_images or _READER.search(file_stem(path.name)) is not None

    @cached_property
    def _without_images(self) -> set[Path]:
        """Folders of masks alone: they are called so, or are the one that is named; and no file there is an image."""
        return {
            folder
            for folder, files in self._images.items()
            if (folder == self.folder or _OF_MASKS.fullmatch(folder.name))
            and not folder.name.startswith("images")
            and not any(read_name(path.name).modality in MODALITIES for path in files)
        }

    @cached_property
    def _by_name(self) -> defaultdict[str, list[Path]]:
        found: defaultdict[str, list[Path]] = defaultdict(list)
        for path in self._masks:
            said = read_name(path.name)
            names = {said.case, *([said.last_word[1]] if said.last_word else []), _without_reader(path)}
            for name in names - {""}:
                found[name].append(path)
        return found

    @cached_property
    def _by_folder(self) -> defaultdict[str, list[Path]]:
        found: defaultdict[str, list[Path]] = defaultdict(list)
        for path in self._masks:
            inside = [p for p in path.parents if p != self.folder and self.folder in p.parents]
            for name in {folder_case_name(path.parent), *(p.name for p in inside)}:
                found[name].append(path)
        return found

    @cached_property
    def _cases(self) -> list[CaseFiles]:
        """The cases whose images lie here."""
        try:
            return told_apart(find_case_sources(self.folder))
        except BadCase:
            return []

    def _beside_images(self, case_id: str) -> list[Path]:
        """Masks in the folder of a case's images, or in the one above it that holds no other case."""
        case = next((case for case in self._cases if case.name == case_id), None)
        if case is None:
            return []
        others = [other.folder for other in self._cases if other is not case]
        for place in (case.folder, *case.folder.parents):
            if place in others or any(place in other.parents for other in others):
                break
            if found := [path for path in self._masks if place in path.parents]:
                return found
            if place == self.folder:
                break
        return []

    def _by_pattern(self, case_id: str, pattern: str) -> tuple[Path, ...]:
        """Files below that fit the pattern: by their name, where it holds the case's; else those of its folder."""
        names_case = "{case}" in str(self.reader_pattern)
        case = next((case for case in self._cases if case.name == case_id), None)
        fit = [path for files in self._images.values() for path in files if fnmatch(path.name, pattern)]
        if not names_case:
            fit = [p for p in fit if p.parent.name == case_id or (case is not None and p.parent == case.folder)]
        if fit:
            return tuple(sorted(fit, key=_natural))
        raise BadCase(
            f"Case {case_id}: there is no mask that fits {self.reader_pattern} in {shown_name(self.folder)}: correct "
            "the pattern, or add the mask.",
            Remedy("reader_pattern", "'{case}_*'"),
        )

    def _in(self, folder: Path) -> list[Path]:
        if folder in self._images:
            return self._images[folder]
        self.check_readable()
        return sorted(p for p in folder.iterdir() if is_image_name(p.name) and not p.is_dir())

    @cached_property
    def _of_images(self) -> set[Path]:
        """Folders called images, in which a file that is called by its case alone is the image."""
        return {folder for folder in self._images if folder.name.startswith("images")}

    def _case_of(self, path: Path) -> str:
        """What a mask's name calls its case; else the folder it lies in."""
        return read_name(path.name).case or folder_case_name(path.parent)

    def check_readable(self) -> None:
        """Refuse a folder that is not there, or not for this user.

        Raises
        ------
        BadCase
            If it cannot be read.
        """
        try:
            os.listdir(self.folder)
        except OSError as err:
            raise BadCase(f"Folder {shown_name(self.folder)} cannot be read: {err.strerror}: choose another.") from err

    def _nothing(self, case_id: str) -> BadCase:
        """What was found instead of the truth of a case."""
        shown = ", ".join(shown_name(path) for path in self._masks[:_NAMED])
        more = f" and {len(self._masks) - _NAMED} more" if len(self._masks) > _NAMED else ""
        found = f"the masks there are {shown}{more}" if shown else "no file there is called a mask"
        return BadCase(
            f"Case {case_id}: there is no {case_id}_seg.nii.gz or {case_id}.nii.gz in {shown_name(self.folder)} or "
            f"below, and no mask beside its images: {found}. Call it by its case, put it into a folder {case_id}, or "
            "say how masks are called.",
            Remedy("reader_pattern", "'{case}_*'"),
        )


def _labels_beside(folder: Path) -> list[Path]:
    """nnU-Net's and the Decathlon's folder of masks for one of images."""
    beside = folder.parent / folder.name.replace("images", "labels")
    return [beside] if folder.name.startswith("images") and beside.is_dir() else []


def _walk(root: Path) -> Iterator[tuple[Path, list[Path]]]:
    """Folders with images, and these; not hidden ones, nor those of results."""
    seen = set[str]()
    for where, folders, files in os.walk(root, followlinks=True):
        here = Path(where)
        seen.add(os.path.realpath(here))
        if RUN_RECORD in files and here != root:
            folders[:] = []
            continue
        deep = len(here.relative_to(root).parts) >= _DEEPEST
        folders[:] = sorted(
            f for f in folders if not deep and not f.startswith(".") and os.path.realpath(here / f) not in seen
        )
        images = sorted(here / f for f in files if is_image_name(f) and "desc-diffseg" not in f)
        if images:
            yield here, images


def _references(images: Sequence[Path], case_id: str, *, alone: bool, may_be_images: bool) -> list[Path]:
    """The case's references among images; in a folder of its own, a reference may have any name."""
    said = {path: read_name(path.name) for path in images}
    named = [path for path in images if said[path].modality == REFERENCE]
    found = [path for path in named if case_id in (said[path].case, _without_reader(path))]
    found = found or (named if alone else [])
    if found or may_be_images:
        return found
    unnamed = [path for path in images if said[path].modality is None and not said[path].is_map]
    # of p1_T1_map, too, p1 is the case: only what is called by the case alone may be its mask
    return [path for path in unnamed if case_id in (file_stem(path.name), printable(file_stem(path.name)))]


def _one_or_readers(case_id: str, found: Sequence[Path]) -> tuple[Path, ...]:
    """The mask, or those of several readers, which their names say; refuse others."""
    drawn = [path for path in found if not is_machine_made(path.name)] or list(found)
    if len(drawn) == 1:
        return (drawn[0],)
    readers = [path for path in drawn if _READER.search(file_stem(path.name)) and not _AGREED.search(path.name)]
    others = [path for path in drawn if path not in readers]
    if len(readers) > 1 and all(_AGREED.search(path.name) for path in others):
        return tuple(sorted(readers, key=_natural))
    names = ", ".join(shown_name(path) for path in drawn[:_NAMED])
    raise BadCase(
        f"Case {case_id}: {names} could each be its truth: leave one, or say by a pattern of names which they are; "
        "those that fit it count as the masks of several readers.",
        Remedy("reader_pattern", f"'{_pattern(case_id, drawn[0])}'"),
    )


def _pattern(case_id: str, path: Path) -> str:
    return path.name.replace(case_id, "{case}") if case_id in path.name else path.name


def _without_reader(path: Path) -> str:
    """The case, where a name ends in whose mask it is."""
    return _READER.sub("", read_name(path.name).case).strip("_-. ")


def _natural(path: Path) -> tuple[int, str]:
    """Reader 2 comes before reader 10."""
    return len(path.name), path.name
