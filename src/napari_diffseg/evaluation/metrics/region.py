"""Where calibration is measured: background that nobody would mistake for lesion would drown everything else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.ndimage import distance_transform_edt

from napari_diffseg.errors import BadCase, GridMismatch, Remedy
from napari_diffseg.evaluation.metrics.overlap import bounding_box
from napari_diffseg.imaging.case import Case, read_case
from napari_diffseg.imaging.case_files import CaseFiles, find_case_sources, told_apart
from napari_diffseg.imaging.intensity import brain_mask
from napari_diffseg.imaging.names.naming import shown_name
from napari_diffseg.imaging.volume import describe_grid, same_grid

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from napari_diffseg.imaging.volume import Volume

Bool = npt.NDArray[np.bool_]

MARGIN_MM = 20.0


@dataclass(frozen=True, eq=False)
class Region:
    """The voxels that calibration and uncertainty are measured on.

    Attributes
    ----------
    mask : ndarray, (X, Y, Z), bool
        On the prediction's grid.
    meaning : str
        How it was found, for the report.
    """

    mask: Bool
    meaning: str


def brain_of_images(case: Case) -> Region:
    """The brain: voxels at which any modality is not 0."""
    meaning = f"brain: voxels where {' or '.join(case.volumes)} is not 0"
    return Region(brain_mask(list(case.volumes.values())), meaning)


def region_around(seen: Bool, spacing_mm: Sequence[float]) -> Region:
    """What lies within 20 mm of anything that a member or a reader sees; everything, where they see nothing.

    Parameters
    ----------
    seen : ndarray, (X, Y, Z), bool
        Where the mean of the members, or the truth, is above 0.
    spacing_mm : sequence of float, (3,)
        Voxel size along the array's axes.
    """
    if not seen.any():
        return Region(
            np.ones_like(seen), "whole volume: no images were given, and neither members nor truth see lesion"
        )
    margins = [int(np.ceil(MARGIN_MM / s)) for s in spacing_mm]
    box = tuple(slice(max(s.start - m, 0), s.stop + m) for s, m in zip(bounding_box(seen), margins, strict=True))
    mask = np.zeros_like(seen)
    mask[box] = distance_transform_edt(~seen[box], sampling=tuple(spacing_mm)) <= MARGIN_MM
    return Region(mask, f"within {MARGIN_MM:g} mm of lesion in any member or in the truth: no images were given")


def image_cases(folder: Path) -> dict[str, CaseFiles]:
    """The cases whose images lie in a folder or below, by the names that `predict` gives them; none if unclear."""
    try:
        return {case.name: case for case in told_apart(find_case_sources(folder))}
    except BadCase:
        return {}


def read_images(folder: Path, grid: Volume, *, case_id: str, cases: Mapping[str, CaseFiles]) -> Case:
    """The images of a case, in FOLDER/<case>/ or where they are found below, on the prediction's grid.

    Parameters
    ----------
    folder : Path
        Of the images.
    grid : Volume
        The prediction's.
    case_id : str
        The prediction's name.
    cases : mapping of str to CaseFiles
        Those of the folder, see `image_cases`.

    Raises
    ------
    BadCase
        If there are none, or several images may be one modality.
    GridMismatch
        If they lie on another grid than the prediction; both are named.
    """
    own = folder / case_id
    if case_id not in cases and not own.is_dir():
        raise BadCase(
            f"Case {case_id}: no images of it in {shown_name(folder)}: name another folder, or do without.",
            Remedy("images"),
        )
    case = read_case(own if case_id not in cases else cases[case_id].readable(), case_id=case_id)
    if not same_grid(case.grid_volume, grid):
        raise GridMismatch(
            f"Case {case_id}: its images are {describe_grid(case.grid_volume)}, but the prediction is "
            f"{describe_grid(grid)}: give the images that were segmented."
        )
    return case
