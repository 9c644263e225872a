"""The masks drawn by people, read and on the prediction's grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_diffseg.errors import BadCase, GridMismatch
from napari_diffseg.evaluation.cases.labels import refuse_negative_labels
from napari_diffseg.evaluation.cases.reorient import turned_like
from napari_diffseg.imaging.formats.nifti import read_mask
from napari_diffseg.imaging.names.naming import shown_name
from napari_diffseg.imaging.volume import describe_grid, same_grid

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from napari_diffseg.imaging.volume import Volume

Bool = npt.NDArray[np.bool_]


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
