"""Folders as `predict` leaves them, with masks of a few voxels."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import nibabel as nib
import numpy as np

from napari_diffseg.imaging.save import write_nifti
from napari_diffseg.imaging.volume import Volume

if TYPE_CHECKING:
    from pathlib import Path

SHAPE = (24, 20, 6)
AFFINE = np.diag([-1.0, -1.0, 2.0, 1.0])


def box(x: int, *, width: int = 8, shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    """A box that begins at x and covers slices 1 to 4."""
    mask = np.zeros(shape, bool)
    mask[x : x + width, 6:14, 1:5] = True
    return mask


def write(path: Path, array: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = np.float32 if array.dtype.kind == "f" else np.uint8
    image = nib.Nifti1Image(array.astype(kind), affine)
    like = Volume(array.astype(kind), affine, image.header, None, ())
    write_nifti(path, array.astype(kind), like, overwrite=True)
    return path


def write_prediction(folder: Path, members: list[np.ndarray], *, tail: str = "", **record: object) -> Path:
    """A case's folder with consensus, mean, variance, members and run.json; `record` overrides its entries."""
    stack = np.stack(members)
    mean = stack.mean(axis=0, dtype=np.float32)
    write(folder / f"mask{tail}.nii.gz", mean > 0.5)
    write(folder / f"mean{tail}.nii.gz", mean)
    if len(members) > 1:
        write(folder / f"uncertainty{tail}.nii.gz", stack.var(axis=0, ddof=1).astype(np.float32))
    for k, member in enumerate(members, start=1):
        write(folder / "members" / f"member{tail}-{k:03d}.nii.gz", member)
    whole = {
        "format": 1,
        "case": folder.name,
        "recipe": {"labels": ["lesion"]},
        "status": "complete",
        "slice_axis": 2,
        "slices": list(range(SHAPE[2])),
        "members": list(range(len(members))),
    }
    (folder / "run.json").write_text(json.dumps(whole | record), "utf-8")
    return folder
