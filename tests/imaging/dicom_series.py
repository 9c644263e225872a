"""Series of DICOM files of a few voxels, written by SimpleITK."""

from __future__ import annotations

from typing import TYPE_CHECKING

import nibabel as nib
import numpy as np
import SimpleITK as sitk

if TYPE_CHECKING:
    from pathlib import Path

TILTED = nib.affines.from_matvec(
    nib.eulerangles.euler2mat(0.1, -0.2, 0.3) @ np.diag([0.9, 1.1, 4.0]), [-31.7, 22.3, 8.9]
)
"""Voxel indices to RAS+ mm."""


def write_series(
    folder: Path, data: np.ndarray, affine: np.ndarray = TILTED, *, uid: str = "1.2.3.4", names=None, **tags: str
) -> Path:
    """A series whose slices run along the last axis of `data`, whatever the affine says of their direction.

    `names` are those of the files, None for one that is not written; `tags` are fields by their name in `_TAGS`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    matrix, origin = (np.diag([-1, -1, 1]) @ affine[:3, :3], np.diag([-1, -1, 1]) @ affine[:3, 3])
    spacing = np.sqrt((matrix**2).sum(axis=0))
    directions = matrix / spacing
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    writer.SetImageIO("GDCMImageIO")
    for k, name in enumerate(names or [f"IM{k:03d}.dcm" for k in range(data.shape[2])]):
        if name is None:
            continue
        image = sitk.GetImageFromArray(data[:, :, k].T.astype(np.int16))
        image.SetSpacing(spacing[:2].tolist())
        fields = {
            "0020|000e": uid,
            "0020|000d": "1.2.3",
            "0008|0018": f"{uid}.{k + 1}",
            "0020|0037": _joined([*directions[:, 0], *directions[:, 1]]),
            "0020|0032": _joined(origin + k * matrix[:, 2]),
            "0020|0013": str(k + 1),
            "0008|0060": "MR",
            "0018|0050": f"{spacing[2]:.6g}",
        }
        for tag, value in (fields | {_TAGS[name]: value for name, value in tags.items()}).items():
            image.SetMetaData(tag, value)
        writer.SetFileName(str(folder / name))
        writer.Execute(image)
    return folder


_TAGS = {
    "kind": "0008|0008", "description": "0008|103e", "instance": "0008|0018", "position": "0020|0032",
    "frame": "0020|0052", "patient": "0010|0020", "name": "0010|0010",
}  # fmt: skip


def _joined(values) -> str:
    return "\\".join(f"{value:.9g}" for value in values)
