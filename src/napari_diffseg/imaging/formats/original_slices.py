"""Slice files of the original implementation, whose affine does not say how they lie."""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt

_NAME = re.compile(r"brats_[a-z]+_\d+_(t1|t1ce|t2|flair|seg)_\d+_w\.nii(\.gz)?$", re.IGNORECASE)

ROWS_TO_POSTERIOR: npt.NDArray[np.float64] = np.array(
    [[0.0, -1.0, 0.0, 0.0], [-1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
)
"""First axis to posterior, second to left, third to superior: how the original's slices lie."""

NOTE = "stored as rows and columns under an affine that says nothing: taken as rows to posterior, columns to left"


def is_original_slice(name: str, shape: tuple[int, ...], affine: npt.NDArray[np.float64]) -> bool:
    """Whether a file is a slice as the original implementation's data set stores it.

    Those files are named like `brats_train_001_flair_080_w.nii.gz`, hold one slice as [y, x], and claim the identity
    for an affine. Read by that affine they would be shown to a network transposed, and give a plausible, wrong mask.

    Parameters
    ----------
    name : str
        The file's name.
    shape : tuple of int
        (X, Y, Z) as read.
    affine : ndarray, (4, 4)
        As the file states it.
    """
    return bool(_NAME.fullmatch(name)) and shape[2] == 1 and bool(np.array_equal(affine, np.eye(4)))
