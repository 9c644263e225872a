"""What the header of a FreeSurfer volume (.mgh, .mgz) claims, checked before anything is allocated."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import numpy as np
from nibabel.freesurfer.mghformat import MGHHeader

from napari_diffseg.imaging.formats.layout import Layout, checked_affine, checked_shape

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_diffseg.errors import BadImage

_DTYPES = {0: ">u1", 1: ">i4", 3: ">f4", 4: ">i2"}
_STORED_BYTES = 90
_VOXELS_AT = 284
_TAIL_BYTES = 1 << 20
_MOST_TYPE = 11


def is_mgh(head: bytes) -> bool:
    """Whether a file that begins so can be a FreeSurfer volume: version 1, four sizes, a known kind of value."""
    if len(head) < _VOXELS_AT:
        return False
    version, *sizes, kind = struct.unpack(">6i", head[:24])
    return bool(version == 1 and all(n > 0 for n in sizes) and 0 <= kind <= _MOST_TYPE)


def parse_mgh(head: bytes, bad: Callable[[str], BadImage]) -> Layout:
    """Check a header and say where and what the voxels are.

    Parameters
    ----------
    head : bytes
        The first 284 bytes of the file or more; `is_mgh` is true of them.
    bad : callable
        Makes the error for this file from what is wrong with it and what to do.

    Raises
    ------
    BadImage
        If sizes, type or orientation are impossible.
    """
    stored = head[:_STORED_BYTES]
    # The scan parameters that nibabel keeps in the same structure follow the voxels and are not needed.
    make: Any = MGHHeader
    header = make(stored + bytes(make.template_dtype.itemsize - _STORED_BYTES), check=False)
    kind = int(header["type"])
    if kind not in _DTYPES:
        raise bad(f"holds values of the type {kind}: convert it to real intensities")
    # From the bytes: nibabel fills a default in, which is not the coronal one (LIA, 1 mm) that FreeSurfer assumes.
    stated = struct.unpack(">h", head[28:30])[0] == 1
    if not stated:
        header["delta"], header["Pxyz_c"] = 1, 0
        header["Mdc"] = [[-1, 0, 0], [0, 0, -1], [0, 1, 0]]
    return Layout(
        header=header,
        shape=checked_shape([int(n) for n in header["dims"]], bad),
        dtype=np.dtype(_DTYPES[kind]),
        offset=_VOXELS_AT,
        is_single=True,
        slope=1.0,
        inter=0.0,
        affine=checked_affine(header.get_affine(), bad),
        notes=() if stated else ("left/right unknown: its header states no orientation",),
        tail_bytes=_TAIL_BYTES,
    )
