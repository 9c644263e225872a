"""Folders of cases that people drew masks of: BraTS of every year, the original's slices, 4-D files, nnU-Net."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_diffseg.errors import BadCase, GridMismatch, Remedy
from napari_diffseg.evaluation.cases.find_truth import READER_PATTERN, TruthFolder, find_truth
from napari_diffseg.evaluation.cases.labels import refuse_negative_labels
from napari_diffseg.evaluation.cases.reorient import turned_like
from napari_diffseg.evaluation.cases.truth import read_label_maps
from napari_diffseg.events import parse_slices
from napari_diffseg.imaging.case import Case, read_case
from napari_diffseg.imaging.case_files import (
    CaseFiles,
    cases_in_folder,
    each_patient_once,
    find_case_files,
    may_hold_cases,
    told_apart,
)
from napari_diffseg.imaging.dataset_json import channels_said_for, label_names
from napari_diffseg.imaging.formats.nifti import count_channels, read_grid, read_mask
from napari_diffseg.imaging.geometry.grid import Grid
from napari_diffseg.imaging.intensity import brain_mask
from napari_diffseg.imaging.names.grouping import case_id_of
from napari_diffseg.imaging.names.listing import folders_in
from napari_diffseg.imaging.names.naming import (
    MODALITIES,
    REFERENCE,
    case_stem,
    is_image_name,
    modality_of,
    shown_name,
)
from napari_diffseg.imaging.volume import describe_grid, same_grid
from napari_diffseg.regions import LARGEST_VALUE, Region, split_label_map
from napari_diffseg.training.source import LabelledCase, Marked, Slices, encode_slices, joined
from napari_diffseg.training.split import Split, split_cases

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from napari_diffseg.imaging.volume import Volume
    from napari_diffseg.recipe import Recipe
    from napari_diffseg.training.config import DataSettings

_TESTED = "imagesTs"
"""A folder of images that are to be tested on, as a rule without masks."""

_KEEPS_MASKS = re.compile(
    r"(?:labels?|masks?|segs?|segmentations?|gt|ground_?truth|truth|annotations?|lesions?|rois?)", re.IGNORECASE
)
_SUBJECT = re.compile(r"sub-[A-Za-z0-9]+")

_FEW_SLICES = 8
_LARGEST_OF_FEW = 0.8
"""Share of the brain that a lesion may fill in a slab or a single slice."""

Place = Path | Mapping[str, Path] | BadCase
"""Where a case lies: in a folder, in a 4-D file, or in files by modality; or why it cannot be read."""


@dataclass(frozen=True, slots=True)
class FolderSource:
    """Cases below a folder, by name.

    Parameters
    ----------
    places : mapping of str to Path or mapping
        Of each case its folder, its 4-D file, or its files by modality; see `find_cases`.
    recipe : Recipe
        What is read of a case, and how.
    data : DataSettings
        Which slices, masks and labels; the share that is held out.
    seed : int
        Of the split.
    root : Path, optional
        The folder of all cases: masks that are not beside the images are looked for in all of it.
    """

    places: Mapping[str, Place]
    recipe: Recipe
    data: DataSettings
    seed: int
    root: Path | None = None

    def split(self) -> Split:
        """Patients are held out by a hash of their names.

        Raises
        ------
        BadRequest
            If there is one patient only, and some are to be held out.
        """
        return split_cases(tuple(self.places), share=self.data.held_out, seed=self.seed)

    def describe(self, split: Split) -> str:
        """What the cases are, for the model card."""
        return f"{len(split.train)} cases of a folder, with masks that people drew"

    def check(self, case_id: str) -> None:
        """Look for the files of a case, and at their headers.

        Raises
        ------
        BadCase
            If a modality or the mask is missing, or the range of slices holds none of the case.
        BadImage, GridMismatch
            If a file is no image, or does not lie on the others' grid.
        """
        files = self._files(case_id)
        if "" in files.images:
            self._check_channels(files.images[""])
        grids = {name: read_grid(path) for name, path in files.images.items()}
        (first, grid), *others = grids.items()
        for name, volume in others if self.data.resample is None else ():
            if not same_grid(grid, volume):
                raise self._mismatch(case_id, name, volume, first, grid)
        grid = grids.get(self.data.resample or first, grid)
        for path in (*files.masks, *(p for paths in files.of_regions.values() for p in paths)):
            mask = read_grid(path)
            if self.data.resample is None and not same_grid(turned_like(mask, grid), grid):
                raise self._mismatch(case_id, f"the mask {shown_name(path)}", mask, first, grid)
        plan = Grid.plan(grid.shape, grid.affine, axis_codes=self.recipe.axis_codes, size=self.recipe.size)
        self._chosen(case_id, plan.n_slices)

    def label_names(self) -> dict[str, list[int]]:
        """As a `dataset.json` beside the images or above them has them."""
        folders = {p if isinstance(p, Path) and p.is_dir() else p.parent for p in self._one_path_each()}
        said = [label_names(folder) for folder in folders]
        return said[0] if said and all(names == said[0] for names in said) else {}

    def _one_path_each(self) -> Iterator[Path]:
        for place in self.places.values():
            if not isinstance(place, BadCase):
                yield place if isinstance(place, Path) else next(iter(place.values()))

    def marked(self, case_id: str) -> Marked:
        """Labels of the readers' masks, and the regions that have files of their own."""
        files = self._files(case_id)
        labels = frozenset[int]().union(*(_labels_in(read_mask(path).data) for path in files.masks))
        return Marked(labels, frozenset(files.of_regions))

    def stamp(self, case_id: str) -> str:
        """Changes with the place, the size and the time of writing of any of the case's files."""
        files = self._files(case_id)
        every = (*files.images.values(), *files.masks, *(p for paths in files.of_regions.values() for p in paths))
        told = [(str(path.absolute()), path.stat().st_size, path.stat().st_mtime_ns) for path in every]
        return hashlib.sha256(repr(told).encode()).hexdigest()[:16]

    def read(self, case_id: str) -> LabelledCase:
        """Read a case and all its readers' masks.

        Raises
        ------
        BadCase
            If a modality or the mask is missing, or a mask fills so much of the brain that it can hardly be of a
            lesion.
        BadImage, GridMismatch
            If a file cannot be read, or does not lie on the others' grid.
        """
        files, resample = self._files(case_id), self.data.resample
        with_mask = {REFERENCE: files.masks[0]} if resample is not None and len(files.masks) == 1 else {}
        is_4d = "" in files.images
        case = read_case(
            files.images[""] if is_4d else {**files.images, **with_mask},
            modalities=self.recipe.modalities,
            channels=self.data.channels if is_4d else None,
            resample_to=resample,
            case_id=case_id,
        )
        if case.reference is not None:
            refuse_negative_labels(case.reference, case_id=case_id)
            maps = [case.reference.data]
        else:
            maps = read_label_maps(files.masks, case.grid_volume, case_id=case_id)
        labelled = self._drawn(case, maps, files)
        self._check_share(labelled)
        return labelled

    def slices(self, case_id: str) -> Slices:
        """All slices with brain that the settings allow; of a second plane, all.

        Raises
        ------
        BadCase
            If the range of slices holds none of the case, or as `read`.
        """
        labelled = self.read(case_id)
        first = encode_slices(labelled, self.recipe, choose=lambda count: self._chosen(case_id, count))
        return joined([first, *(encode_slices(labelled, recipe) for recipe in self.recipe.planes[1:])])

    @property
    def _regions(self) -> tuple[Region, ...]:
        labels = self.data.lesion_labels
        if labels is not None and len(self.recipe.labels) == 1:
            return (Region(name=self.recipe.labels[0], values=labels),)
        return self.recipe.regions

    def _files(self, case_id: str) -> _Files:
        """What there is of a case, by the names of its files."""
        place = self.places[case_id]
        if isinstance(place, BadCase):
            raise place
        if isinstance(place, Path):
            is_4d = place.is_file()
            images = {"": place} if is_4d else dict(find_case_files(place, self.recipe.modalities, pick=self.data.pick))
            folder = place.parent if is_4d else place
        else:
            images = dict(place)
            folder = next(iter(images.values())).parent
        reference = images.pop(REFERENCE, None)
        if "" not in images:
            images = self._wanted(case_id, images)
        patterns, places = self.data.region_files or {}, [folder, *_mask_folders(folder)]
        of_regions = {
            name: found for name, pattern in patterns.items() if (found := _first_fitting(places, pattern, case_id))
        }
        needs_maps = len(patterns) < len(self.recipe.labels)
        masks = self._masks(case_id, places, reference) if needs_maps else ()
        if not masks and not of_regions:
            wanted = ", ".join(patterns.values())
            raise BadCase(f"Case {case_id}: there is no mask {wanted} to learn from: add it, or take the case away.")
        return _Files(images, masks, of_regions)

    def _check_channels(self, path: Path) -> None:
        """Of a 4-D file."""
        count, named = count_channels(path), self.data.channels or channels_said_for(path)
        if named is None or len(named) != count:
            said = f"{len(named)} are named ({', '.join(named)})" if named else "nothing says what they are"
            raise BadCase(
                f"{shown_name(path)} has {count} channels, but {said}: name each once, in the file's order.",
                Remedy("data.channels", ",".join(MODALITIES[:count])),
            )

    def _wanted(self, case_id: str, images: Mapping[str, Path]) -> dict[str, Path]:
        """Those of the recipe's modalities."""
        wanted = self.recipe.modalities
        if missing := [m for m in wanted if m not in images]:
            raise BadCase(
                f"Case {case_id}: no {', '.join(missing)} among its images ({', '.join(images)}): add what is "
                "missing, take the case away, or train with other modalities."
            )
        return {m: images[m] for m in wanted}

    def _masks(self, case_id: str, places: Sequence[Path], reference: Path | None) -> tuple[Path, ...]:
        """The readers' label maps, or the one reference: beside the images, or where masks are kept."""
        pattern = self.data.reader_pattern
        if readers := _first_fitting(places, pattern or READER_PATTERN, case_id):
            return readers
        if reference is not None and pattern is None:
            return (reference,)
        for place in places[1:] if pattern is None else ():
            try:
                return find_truth(place, case_id)
            except BadCase:
                continue  # there is none, or there are several: what is said below
        if self.root is not None and pattern is None:
            with contextlib.suppress(BadCase):  # as above
                return _truth_below(self.root).of(case_id)
        raise BadCase(
            f"Case {case_id}: there is no mask {pattern or f'{case_id}_seg.nii.gz'} to learn from, or there are "
            "several: add one, say how those of several readers are called, or take the case away.",
            Remedy("data.reader_pattern", "{case}_reader*"),
        )

    def _drawn(self, case: Case, maps: Sequence[npt.NDArray[np.integer]], files: _Files) -> LabelledCase:
        """Every reader's regions: of label maps all but those that have files of their own."""
        own = {name: read_label_maps(f, case.grid_volume, case_id=case.id) for name, f in files.of_regions.items()}
        patterns = self.data.region_files or {}
        readers = max(len(maps), *map(len, own.values())) if own else len(maps)
        masks = np.zeros((readers, len(self._regions), *case.shape), np.bool_)
        known = np.zeros(masks.shape[:2], np.bool_)
        for m, region in enumerate(self._regions):
            drawn = own.get(region.name, []) if region.name in patterns else maps
            for r, labels in enumerate(drawn):
                held = set(region.values) & _labels_in(labels) if region.name in patterns else ()
                # a file of this region alone may have its label, or any
                alone = Region(name=region.name, values=region.values if held else ())
                masks[r, m] = split_label_map(labels, [alone if region.name in patterns else region])[0]
                known[r, m] = True
        return LabelledCase(case, masks, known)

    def _check_share(self, labelled: LabelledCase) -> None:
        """Ask about a mask that is rather one of the brain."""
        case = labelled.case
        brain = brain_mask(list(case.volumes.values()))
        marked = np.asarray(labelled.readers.any(axis=1)) & brain
        most = float(marked.sum(axis=(1, 2, 3)).max() / max(1, int(brain.sum())))
        largest = self.data.largest_share
        if min(case.shape) <= _FEW_SLICES:
            largest = max(largest, _LARGEST_OF_FEW)
        if most > largest:
            raise BadCase(
                f"Case {case.id}: its mask fills {most:.0%} of the brain, as a mask of the brain does and a lesion "
                "hardly can: give the mask of the lesion, or, if it is right, allow a larger share.",
                Remedy("data.largest_share", "1"),
            )

    def _mismatch(self, case_id: str, name: str, volume: Volume, first: str, grid: Volume) -> GridMismatch:
        elsewhere = ", elsewhere in space" if describe_grid(volume) == describe_grid(grid) else ""
        return GridMismatch(
            f"Case {case_id}: {name} is {describe_grid(volume)}, but {first or 'the image'} is {describe_grid(grid)}"
            f"{elsewhere}. The files of a case must share one grid: mend them, or have them resampled.",
            Remedy("data.resample", first),
        )

    def _chosen(self, case_id: str, count: int) -> tuple[int, ...]:
        text = self.data.slices
        chosen = tuple(range(count)[parse_slices(text)]) if text else tuple(range(count))
        if not chosen:
            raise BadCase(
                f"Case {case_id}: slices {text} hold none of its {count} slices: give a range within 0:{count}, "
                "or train on all.",
                Remedy("data.slices", ":"),
            )
        return chosen


@dataclass(frozen=True, slots=True)
class _Files:
    """Where a case lies: its images by modality (a 4-D file under no name), its readers' label maps, regions' files."""

    images: Mapping[str, Path]
    masks: tuple[Path, ...]
    of_regions: Mapping[str, tuple[Path, ...]]


def _first_fitting(places: Sequence[Path], pattern: str, case_id: str) -> tuple[Path, ...]:
    """The files that a pattern means, of the first place that has any."""
    written = pattern.replace("{case}", glob.escape(case_id))
    return next((found for place in places if (found := tuple(sorted(place.glob(written))))), ())


def _mask_folders(images: Path) -> list[Path]:
    """Folders beside one of images in which masks may be kept: labelsTr of imagesTr, masks, derivatives of BIDS."""
    beside = [_labels_of(images)] if "images" in images.name else []
    beside += (*_masks_kept_in(images.parent), *_masks_kept_in(images.parent.parent))
    subject = next((p for p in (images, *images.parents) if _SUBJECT.fullmatch(p.name)), None)
    if subject is not None:
        inside = images.relative_to(subject.parent)
        beside += [folder / inside for folder in folders_in(subject.parent / "derivatives")]
    return [folder for folder in dict.fromkeys(beside) if folder.is_dir() and folder != images]


@lru_cache(maxsize=64)
def _masks_kept_in(parent: Path) -> tuple[Path, ...]:
    """By name; a parent is that of many cases, so it is looked at once."""
    return tuple(folder for folder in folders_in(parent) if _KEEPS_MASKS.fullmatch(folder.name))


@lru_cache(maxsize=1)
def _truth_below(root: Path) -> TruthFolder:
    """Looked through once in each process that reads cases."""
    return TruthFolder(root)


def _labels_in(labels: npt.NDArray[np.integer]) -> frozenset[int]:
    """Those above 0 that occur; quicker than by sorting."""
    positive = labels[labels > 0]
    if positive.size and positive.max() <= LARGEST_VALUE:
        return frozenset(np.flatnonzero(np.bincount(positive)).tolist())
    return frozenset(np.unique(positive).tolist())


def find_cases(
    folder: Path,
    *,
    modalities: Sequence[str] = (),
    channels: Sequence[str] | None = None,
    pick: Sequence[str] = (),
) -> dict[str, Place]:
    """All cases below a folder, by name: folders of images that name their modality, 4-D files, and nnU-Net's.

    4-D files lie in a folder whose name holds "images", such as imagesTr, with their masks in the one of the same name
    with "labels" (Medical Segmentation Decathlon), or beside them; so do the files that nnU-Net has for each channel.

    Parameters
    ----------
    folder : Path
        Of all cases.
    modalities : sequence of str
        Those that are looked for.
    channels : sequence of str, optional
        What nnU-Net's channels are; what `dataset.json` says by default.
    pick : sequence of str
        Which of several images of one modality to take, or of several folders of one patient.

    Raises
    ------
    BadCase
        If the folder cannot be read, there is no case, or two have one name.
    """
    if not folder.is_dir():
        raise BadCase(f"{shown_name(folder)} is no folder: name one with cases, or the word phantoms.")
    found: dict[str, Place] = {}
    cases = each_patient_once(list(_cases_below(folder, modalities, channels, pick)), pick=pick)
    for case in told_apart(cases):
        if case.name in found:
            raise BadCase(
                f"Two cases are called {case.name} ({_parent_of(found[case.name])} and {case.folder.name}): "
                "rename one, or train on the folder of one."
            )
        found[case.name] = case.refused or case.source
    refused = [place for place in found.values() if isinstance(place, BadCase)]
    if refused and len(refused) == len(found):
        raise refused[0]
    if not found:
        raise BadCase(
            f"Folder {shown_name(folder)} holds no case: give each a folder with images named by modality "
            "(patient_flair.nii.gz), or 4-D files in a folder imagesTr."
        )
    return dict(sorted(found.items()))


def _parent_of(place: Place) -> str:
    if isinstance(place, BadCase):
        return "one that cannot be read"
    return (place if isinstance(place, Path) else next(iter(place.values()))).parent.name


def _labels_of(images: Path) -> Path:
    return images.parent / images.name.replace("images", "labels")


def _cases_below(
    folder: Path, modalities: Sequence[str], channels: Sequence[str] | None, pick: Sequence[str]
) -> Iterator[CaseFiles]:
    seen = set[str]()
    for where, folders, files in os.walk(folder, followlinks=True):
        here = Path(where)
        seen.add(os.path.realpath(here))
        # links are followed, as cases are often linked together, but not around in a circle
        folders[:] = sorted(
            f
            for f in folders
            if not f.startswith(".") and os.path.realpath(here / f) not in seen and may_hold_cases(here / f)
        )
        if here.name == _TESTED and not _labels_of(here).is_dir():
            continue
        try:
            found = cases_in_folder(here, modalities=modalities or MODALITIES, channels=channels, pick=pick)
        except BadCase as err:
            yield CaseFiles(here.name, here, here, refused=err)
            continue
        yield from found
        if found:
            folders[:] = []  # what lies below belongs to them
        else:
            named = [here / f for f in sorted(files) if _may_be_4d(f, files, here)]
            yield from (CaseFiles(case_id_of([path]), path, here) for path in named)


def _may_be_4d(name: str, names: list[str], folder: Path) -> bool:
    """An image without modality in its name, in a folder of images or with a mask of its own beside it."""
    if not is_image_name(name) or modality_of(name) is not None:
        return False
    stem = case_stem(name)
    beside = any(modality_of(n) == REFERENCE and case_stem(n) == stem for n in names if is_image_name(n))
    return "images" in folder.name or beside
