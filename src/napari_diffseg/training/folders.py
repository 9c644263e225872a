"""Folders of cases that people drew masks of: BraTS of every year, the original's slices, 4-D files, nnU-Net."""

from __future__ import annotations

import glob
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_diffseg.errors import BadCase
from napari_diffseg.evaluation.cases.truth import READER_PATTERN, find_truth, read_truth
from napari_diffseg.events import parse_slices
from napari_diffseg.imaging.case import Case, read_case
from napari_diffseg.imaging.case_files import find_case_files, looks_like_case
from napari_diffseg.imaging.naming import REFERENCE, case_id_of, case_stem, is_image_name, modality_of, shown_name
from napari_diffseg.imaging.nnunet import nnunet_cases
from napari_diffseg.training.source import LabelledCase, Slices, encode_slices
from napari_diffseg.training.split import Split, split_cases

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from napari_diffseg.recipe import Recipe
    from napari_diffseg.training.config import DataSettings

_TESTED = "imagesTs"
"""A folder of images that are to be tested on, as a rule without masks."""

Place = Path | Mapping[str, Path]
"""Where a case lies: in a folder, in a 4-D file, or in files by modality."""


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
    """

    places: Mapping[str, Place]
    recipe: Recipe
    data: DataSettings
    seed: int

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

    def read(self, case_id: str) -> LabelledCase:
        """Read a case and all its readers' masks.

        Raises
        ------
        BadCase
            If a modality or the mask is missing.
        BadImage, GridMismatch
            If a file cannot be read, or does not lie on the others' grid.
        """
        place = self.places[case_id]
        case = read_case(
            place,
            modalities=self.recipe.modalities,
            channels=self.data.channels if isinstance(place, Path) and place.is_file() else None,
            resample_to=self.data.resample,
            case_id=case_id,
        )
        files = self._masks(place, case)
        if not files and case.reference is not None:
            labels = self.data.lesion_labels
            data = case.reference.data
            return LabelledCase(case, (data > 0 if labels is None else np.isin(data, labels))[None])
        truth = read_truth(files, case.grid_volume, case_id=case_id, labels=self.data.lesion_labels)
        return LabelledCase(case, truth.readers)

    def slices(self, case_id: str) -> Slices:
        """All slices with brain that the settings allow.

        Raises
        ------
        BadCase
            If the range of slices holds none of the case, or as `read`.
        """
        return encode_slices(self.read(case_id), self.recipe, choose=lambda count: self._chosen(case_id, count))

    def _masks(self, place: Place, case: Case) -> tuple[Path, ...]:
        """The readers' files; none where the case has read its one reference already."""
        if not isinstance(place, Path):
            place = next(iter(place.values()))
        if place.is_file():
            return find_truth(_labels_of(place.parent), case.id, reader_pattern=self.data.reader_pattern)
        pattern = self.data.reader_pattern or READER_PATTERN
        if readers := sorted(place.glob(pattern.replace("{case}", glob.escape(case.id)))):
            return tuple(readers)
        if case.reference is not None and self.data.reader_pattern is None:
            return ()
        wanted = self.data.reader_pattern or f"{case.id}_seg.nii.gz"
        why = "".join(f" ({note})" for note in case.notes)
        raise BadCase(f"Case {case.id}: there is no mask {wanted} to learn from{why}: add it, or take the case away.")

    def _chosen(self, case_id: str, count: int) -> tuple[int, ...]:
        text = self.data.slices
        chosen = tuple(range(count)[parse_slices(text)]) if text else tuple(range(count))
        if not chosen:
            raise BadCase(
                f"Case {case_id}: slices {text} hold none of its {count} slices: give a range within 0:{count}, "
                "or all, --slices :."
            )
        return chosen


def find_cases(
    folder: Path, *, modalities: Sequence[str] = (), channels: Sequence[str] | None = None
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

    Raises
    ------
    BadCase
        If the folder cannot be read, there is no case, or two have one name.
    """
    if not folder.is_dir():
        raise BadCase(f"{shown_name(folder)} is no folder: name one with cases, or the word phantoms.")
    found: dict[str, Place] = {}
    for name, place in _named_places(folder, modalities, channels):
        if name in found:
            raise BadCase(
                f"Two cases are called {name} ({_parent_of(found[name])} and {_parent_of(place)}): "
                "rename one, or train on the folder of one."
            )
        found[name] = place
    if not found:
        raise BadCase(
            f"Folder {shown_name(folder)} holds no case: give each a folder with images named by modality "
            "(patient_flair.nii.gz), or 4-D files in a folder imagesTr."
        )
    return dict(sorted(found.items()))


def _name_of(folder: Path) -> str:
    return case_id_of([p for m, p in find_case_files(folder).items() if m != REFERENCE])


def _parent_of(place: Place) -> str:
    return (place if isinstance(place, Path) else next(iter(place.values()))).parent.name


def _labels_of(images: Path) -> Path:
    return images.parent / images.name.replace("images", "labels")


def _named_places(
    folder: Path, modalities: Sequence[str], channels: Sequence[str] | None
) -> Iterator[tuple[str, Place]]:
    seen = set[str]()
    for where, folders, files in os.walk(folder, followlinks=True):
        here = Path(where)
        seen.add(os.path.realpath(here))
        # links are followed, as cases are often linked together, but not around in a circle
        folders[:] = sorted(f for f in folders if not f.startswith(".") and os.path.realpath(here / f) not in seen)
        if here.name == _TESTED and not _labels_of(here).is_dir():
            continue
        if "images" in here.name and (numbered := nnunet_cases(here, modalities=modalities, channels=channels)):
            yield from numbered.items()
        elif looks_like_case(here):
            yield _name_of(here), here
        else:
            yield from ((case_id_of([here / f]), here / f) for f in sorted(files) if _may_be_4d(f, files, here))


def _may_be_4d(name: str, names: list[str], folder: Path) -> bool:
    """An image without modality in its name, in a folder of images or with a mask of its own beside it."""
    if not is_image_name(name) or modality_of(name) is not None:
        return False
    stem = case_stem(name)
    beside = any(modality_of(n) == REFERENCE and case_stem(n) == stem for n in names if is_image_name(n))
    return "images" in folder.name or beside
