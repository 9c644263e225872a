"""The masks drawn by people: which files they are, and that they lie on the prediction's grid."""

from __future__ import annotations

import glob
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_diffseg.errors import BadCase, GridMismatch
from napari_diffseg.evaluation.cases.labels import refuse_negative_labels
from napari_diffseg.evaluation.cases.turning import turned_like
from napari_diffseg.imaging.naming import MODALITIES, REFERENCE, case_stem, is_image_name, modality_of, shown_name
from napari_diffseg.imaging.nifti import read_mask
from napari_diffseg.imaging.volume import describe_grid, same_grid

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from napari_diffseg.imaging.volume import Volume

Bool = npt.NDArray[np.bool_]

READER_PATTERN = "{case}_reader*.nii*"
"""Names of several readers' masks, where no other pattern is given; {case} stands for the case's name."""


@dataclass(frozen=True, eq=False)
class Truth:
    """What the readers drew of one case.

    Attributes
    ----------
    files : tuple of str
        Names of the files, one a reader.
    readers : ndarray, (R, X, Y, Z), bool
        Their masks, on the prediction's grid.
    """

    files: tuple[str, ...]
    readers: Bool

    @property
    def majority(self) -> Bool:
        """Voxels that more than half of the readers see, (X, Y, Z); with one reader, that reader's."""
        return np.asarray(2 * self.readers.sum(axis=0) > len(self.readers))

    @property
    def share(self) -> npt.NDArray[np.float32]:
        """Share of the readers that see lesion, (X, Y, Z), in [0, 1]."""
        return np.asarray(self.readers.mean(axis=0, dtype=np.float32))


def find_truth(folder: Path, case_id: str, *, reader_pattern: str | None = None) -> tuple[Path, ...]:
    """The truth of one case: several readers' masks where there are, else the one reference mask.

    Both are looked for in FOLDER/<case>/ and in FOLDER itself: readers by the pattern; the reference as a file whose
    name says that it is one (`<case>_seg.nii.gz`), or is the case's alone (`<case>.nii.gz`).

    Parameters
    ----------
    folder : Path
        Of the truth.
    case_id : str
        The prediction's name.
    reader_pattern : str, optional
        Names of the readers' masks, with `*` and `{case}`; when it is given, nothing else will do.

    Raises
    ------
    BadCase
        If there is none, or there are several references.
    """
    places = [p for p in (folder / case_id, folder) if p.is_dir()]
    pattern = (reader_pattern or READER_PATTERN).replace("{case}", glob.escape(case_id))
    for place in places:
        if readers := sorted(place.glob(pattern), key=_natural):
            return tuple(readers)
    if reader_pattern is None:
        for place in places:
            if reference := _reference(_images(place), case_id, alone=place != folder):
                return (reference,)
    what = f"mask that fits {reader_pattern}" if reader_pattern else f"{case_id}_seg.nii.gz or {case_id}.nii.gz"
    raise BadCase(f"Case {case_id}: there is no {what} in {shown_name(folder)} or its folder {case_id}: add it.")


def cases_with_truth(folder: Path, *, reader_pattern: str | None = None) -> set[str]:
    """Names of the cases that a folder holds the truth of: its folders with a reference, and its references.

    In a folder without images, masks that are called by their case alone are references, too; masks that are called as
    several readers' are not.

    Raises
    ------
    BadCase
        If the folder cannot be read.
    """
    try:
        folders = [p for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")]
    except OSError as err:
        raise BadCase(f"Folder {shown_name(folder)} cannot be read: {err.strerror}: choose another.") from err
    inside = {p.name for p in folders if any(modality_of(f.name) == REFERENCE for f in _images(p))}
    readers = (reader_pattern or READER_PATTERN).replace("{case}", "*")
    stated = [(p, modality_of(p.name)) for p in _images(folder) if not fnmatch(p.name, readers)]
    kinds = {REFERENCE} if any(m in MODALITIES for _, m in stated) else {REFERENCE, None}
    return inside | {case_stem(p.name) for p, m in stated if m in kinds}


def read_truth(files: Sequence[Path], grid: Volume, *, case_id: str, labels: Iterable[int] | None = None) -> Truth:
    """Read the readers' masks and make them binary; one whose file runs along other directions is turned.

    Parameters
    ----------
    files : sequence of Path
        One a reader.
    grid : Volume
        The prediction's.
    case_id : str
        For messages.
    labels : iterable of int, optional
        Labels that count as lesion; by default all above 0, the whole tumour.

    Raises
    ------
    BadCase, BadImage, GridMismatch
        As `read_label_maps`.
    """
    wanted = None if labels is None else list(labels)
    maps = read_label_maps(files, grid, case_id=case_id)
    masks = [data > 0 if wanted is None else np.isin(data, wanted) for data in maps]
    return Truth(tuple(shown_name(p) for p in files), np.stack(masks))


def read_label_maps(files: Sequence[Path], grid: Volume, *, case_id: str) -> list[npt.NDArray[np.integer]]:
    """Read the readers' masks as they are, (X, Y, Z) each, turned to the grid's directions where they run along others.

    Raises
    ------
    BadCase
        If a file is the prediction itself, which agrees with itself and says nothing; or has negative labels.
    BadImage
        If a file is no label mask.
    GridMismatch
        If a mask lies on another grid than the prediction; both are named.
    """
    maps = []
    for path in files:
        if grid.path is not None and path.samefile(grid.path):
            raise BadCase(f"Case {case_id}: its truth is the predicted mask itself: give the folder of the truth.")
        volume = read_mask(path)
        refuse_negative_labels(volume, case_id=case_id)
        turned = turned_like(volume, grid)
        if not same_grid(turned, grid):
            elsewhere = ", elsewhere in space" if describe_grid(volume) == describe_grid(grid) else ""
            raise GridMismatch(
                f"Case {case_id}: the truth {shown_name(path)} is {describe_grid(volume)}{elsewhere}, but the "
                f"prediction is {describe_grid(grid)}: give the truth on the grid of the images that were segmented."
            )
        maps.append(turned.data)
    return maps


def _images(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if is_image_name(p.name) and not p.is_dir())


def _reference(images: Sequence[Path], case_id: str, *, alone: bool) -> Path | None:
    """The case's reference among images; in a folder of its own, a reference may have any name."""
    named = [p for p in images if modality_of(p.name) == REFERENCE]
    found = [p for p in named if case_stem(p.name) == case_id] or (named if alone else [])
    found = found or [p for p in images if modality_of(p.name) is None and case_stem(p.name) == case_id]
    if len(found) > 1:
        names = ", ".join(shown_name(p) for p in found[:5])
        raise BadCase(
            f"Case {case_id}: {names} could each be its truth: leave one, "
            "or say with --reader-pattern that they are several readers' masks."
        )
    return found[0] if found else None


def _natural(path: Path) -> tuple[int, str]:
    """Reader 2 comes before reader 10."""
    return len(path.name), path.name
