"""Images of a few voxels, and NIfTI files byte by byte, so that any field can be made wrong."""

from __future__ import annotations

import gzip
import itertools
from typing import Any

import nibabel as nib
import numpy as np

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
OBLIQUE = nib.affines.from_matvec(nib.eulerangles.euler2mat(0.2, -0.3, 0.1) @ np.diag([0.9, 1.1, 3.0]), [3.0, -40, 7])
ORIENTATIONS = tuple(
    tuple(pair[flip] for pair, flip in zip(axes, flips, strict=True))
    for axes in itertools.permutations(("LR", "AP", "IS"))
    for flips in itertools.product((0, 1), repeat=3)
)


def ramp(shape=(4, 3, 2), dtype=np.int16) -> np.ndarray:
    """1, 2, 3 ... in the file's order of voxels."""
    return np.arange(1, np.prod(shape) + 1).reshape(shape, order="F").astype(dtype)


def nifti_bytes(data: np.ndarray, affine: np.ndarray = LPS, *, order: str = "<", **fields: Any) -> bytes:
    """A NIfTI-1 file with the sform of `affine`; `fields` are then set as they are, right or wrong."""
    header = nib.Nifti1Header(endianness=order)
    header.set_data_dtype(data.dtype)
    header.set_data_shape(data.shape)
    header.set_sform(affine, 1)
    header["vox_offset"] = 352
    header.set_xyzt_units("mm")
    for name, value in fields.items():
        if isinstance(value, dict):
            for index, one in value.items():
                header[name][index] = one
        else:
            header[name] = value
    return header.binaryblock + b"\0\0\0\0" + data.astype(data.dtype.newbyteorder(order)).tobytes(order="F")


def write_image(path, data: np.ndarray, affine: np.ndarray = LPS, **fields: Any):
    """`nifti_bytes` on disk, compressed where the name says so."""
    content = nifti_bytes(data, affine, **fields)
    path.write_bytes(gzip.compress(content) if path.name.endswith(".gz") else content)
    return path


def oriented(codes, shape=(9, 8, 7), tilt: float = 0.0) -> np.ndarray:
    """An affine of unequal spacings whose axes increase in the directions `codes`, turned by `tilt` radians."""
    columns = {"R": 0, "L": 0, "A": 1, "P": 1, "S": 2, "I": 2}
    affine = np.eye(4)
    affine[:3, :3] = 0
    for axis, (code, size) in enumerate(zip(codes, (1.0, 1.5, 2.0), strict=True)):
        affine[columns[code], axis] = size if code in "RAS" else -size
    turn = nib.eulerangles.euler2mat(tilt, -tilt / 2, tilt / 3)
    affine[:3, :3] = turn @ affine[:3, :3]
    affine[:3, 3] = [-10, 20, 5]
    return affine


def write_pair(folder, stem: str = "a", kind: Any = nib.Nifti1Pair, affine: np.ndarray = LPS, *, suffix: str = ".hdr"):
    """A pair of header and voxels holding `ramp()`; the path of the header."""
    nib.save(kind(ramp(), affine), folder / f"{stem}{suffix}")
    return folder / f"{stem}{suffix}"
