"""Labels of the truth that count as lesion: that they can be, and that anybody drew them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_diffseg.errors import BadCase, BadRequest, DiffsegError, Remedy
from napari_diffseg.imaging.formats.nifti import read_mask
from napari_diffseg.imaging.names.naming import shown_name

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from napari_diffseg.imaging.volume import Volume


def check_lesion_labels(labels: Iterable[int], *, setting: str) -> None:
    """Refuse labels that cannot be lesion; `setting` is what they are called in `Evaluation`.

    Raises
    ------
    BadRequest
        If one is not above 0.
    """
    if wrong := sorted(label for label in labels if label < 1):
        raise BadRequest(
            f"Labels {_listed(wrong)} cannot be lesion, whose labels are above 0: name those.", Remedy(setting)
        )


def check_labels_occur(labels: Iterable[int], masks: Iterable[Path]) -> None:
    """Refuse a label that occurs in no mask at all; that some lack it, such as enhancing tumour, may well be.

    Parameters
    ----------
    labels : iterable of int
        Those that are asked for.
    masks : iterable of Path
        Read one after another until all labels have been found. One that cannot be used is left to who measures it.

    Raises
    ------
    BadRequest
        With the labels that there are.
    """
    missing, there, read = set(labels), set[int](), 0
    for path in masks:
        try:
            mask = read_mask(path)
            refuse_negative_labels(mask, case_id="")
        except DiffsegError:
            continue
        read += 1
        there |= {int(label) for label in np.unique(mask.data) if label > 0}
        missing -= there
        if not missing:
            return
    if read:
        found = f"their labels are {_listed(there)}" if there else "there is no label above 0 in any"
        raise BadRequest(f"No truth holds label {_listed(missing)}: {found}: name others.", Remedy("labels"))


def refuse_negative_labels(mask: Volume, *, case_id: str) -> None:
    """Refuse a mask that says of voxels what nobody can know the meaning of.

    Raises
    ------
    BadCase
        If a label is below 0.
    """
    if mask.data.dtype.kind == "i" and mask.data.min() < 0:
        negative = _listed(int(label) for label in np.unique(mask.data[mask.data < 0])[:5])
        raise BadCase(
            f"Case {case_id}: {shown_name(mask.path or 'its truth')} holds negative labels ({negative}), which say "
            "neither lesion nor background: write the mask with labels from 0."
        )


def _listed(labels: Iterable[int]) -> str:
    return ", ".join(str(label) for label in sorted(labels))
