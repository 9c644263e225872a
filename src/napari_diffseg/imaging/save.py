"""Writes a mask or a map on the voxel grid of the image it was computed from."""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header

from napari_diffseg.errors import BadImage, GridMismatch, OutputFailed
from napari_diffseg.imaging.atomic import atomic_write
from napari_diffseg.imaging.names.naming import shown_name
from napari_diffseg.imaging.volume import describe_grid

if TYPE_CHECKING:
    from napari_diffseg.imaging.volume import Volume

_LARGEST_1 = 32767
_LEVEL = 4
_GEOMETRY = (
    "qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z",
    "srow_x", "srow_y", "srow_z", "xyzt_units",
)  # fmt: skip
_SCANNER = 1
_LONGEST_DESCRIPTION = 79


def write_nifti(
    path: Path | str, array: npt.NDArray[Any], like: Volume, *, overwrite: bool = False, description: str = ""
) -> None:
    """Write an array as NIfTI on the grid of a volume, whole or not at all.

    The header is new: geometry, its codes and units are those of `like`'s NIfTI header, bit for bit, and no text is
    copied, which could name a patient. The same array and description give the same bytes. NIfTI-2 is written where
    `like` is NIfTI-2, or an axis is longer than NIfTI-1 can say.

    Parameters
    ----------
    path : Path
        Ends in .nii or .nii.gz; its folder must exist.
    array : ndarray, (X, Y, Z), bool, uint8, uint16 or float32
        In `like`'s voxel order; masks are written as uint8.
    like : Volume
        The grid.
    overwrite : bool
        Replace a file that is there.
    description : str
        What the file holds, for its header's `descrip`; ASCII, at most 79 characters, what is more is cut off.

    Raises
    ------
    GridMismatch
        If the array has another shape than `like`.
    BadImage
        If it is of another type.
    OutputExists, OutputFailed
        As `atomic_write`; also for another ending.
    """
    path = Path(path)
    if not path.name.lower().endswith((".nii", ".nii.gz")):
        raise OutputFailed(f"{shown_name(path)} is no NIfTI name: let it end in .nii.gz or .nii.")
    if array.shape != like.shape:
        raise GridMismatch(
            f"{shown_name(path)}: an array of {' x '.join(map(str, array.shape))} voxels cannot be written on a grid "
            f"of {describe_grid(like)}: give one of the same shape."
        )
    stored = _stored(array, path)
    header = _fresh_header(stored, like)
    header["descrip"] = description.encode("ascii", "replace")[:_LONGEST_DESCRIPTION]
    content = header.binaryblock + b"\0\0\0\0" + stored.tobytes(order="F")
    if path.name.lower().endswith(".gz"):
        content = _compressed(content)
    atomic_write(path, lambda file: file.write(content), overwrite=overwrite, size=len(content))


def _stored(array: npt.NDArray[Any], path: Path) -> npt.NDArray[Any]:
    if array.dtype in (np.bool_, np.uint8):
        return array.astype(np.uint8, copy=False)
    for kind in ("<f4", "<u2"):
        if array.dtype.newbyteorder("=") == np.dtype(kind).newbyteorder("="):
            return array.astype(kind, copy=False)
    raise BadImage(
        f"{shown_name(path)}: {array.dtype} is not written: give bool, uint8 or uint16 for masks and labels, float32 "
        "for a map."
    )


def _fresh_header(stored: npt.NDArray[Any], like: Volume) -> Any:
    source: Any = like.header
    has_geometry = isinstance(source, Nifti1Header)  # which Nifti2Header is, too
    second = isinstance(source, Nifti2Header) or max(stored.shape) > _LARGEST_1
    kind: Any = Nifti2Header if second else Nifti1Header
    header = kind(endianness="<")
    header.set_data_dtype(stored.dtype)
    header.set_data_shape(stored.shape)
    header["vox_offset"] = (540 if second else 348) + 4
    header["scl_slope"], header["scl_inter"] = 1, 0
    if has_geometry:
        for name in _GEOMETRY:
            header[name] = source[name]
        header["pixdim"][:4] = source["pixdim"][:4]
    else:
        _set_geometry(header, like)
    return header


def _set_geometry(header: Any, like: Volume) -> None:
    """The affine as an sform; as a qform too where a rotation can express it."""
    header.set_zooms(like.spacing_mm)
    header.set_xyzt_units("mm")
    header.set_sform(like.affine, _SCANNER)
    header.set_qform(like.affine, _SCANNER)
    if not np.allclose(header.get_qform(), like.affine, rtol=0, atol=1e-4):
        header["qform_code"] = 0


def _compressed(content: bytes) -> bytes:
    """The content as gzip without time or name, so that equal content gives equal bytes."""
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=buffer, compresslevel=_LEVEL, mtime=0) as file:
        file.write(content)
    return buffer.getvalue()
