"""What the header of an Analyze 7.5 pair claims, checked as NIfTI's is, which grew out of it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nibabel.spm99analyze import Spm99AnalyzeHeader

from napari_diffseg.imaging.formats.layout import checked_affine
from napari_diffseg.imaging.formats.nifti_header import parse_nifti

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_diffseg.errors import BadImage
    from napari_diffseg.imaging.formats.layout import Layout

LENGTH = 348
_LENGTHS = {LENGTH.to_bytes(4, "little"): "<", LENGTH.to_bytes(4, "big"): ">"}
_NOT_NIFTIS = (slice(120, 124), slice(252, 344))
"""Where the two formats differ: NIfTI has its units and its orientation there, Analyze other fields."""


def is_analyze(head: bytes) -> bool:
    """Whether a file that begins so, and is not NIfTI, can be the header of an Analyze pair."""
    return len(head) >= LENGTH and head[:4] in _LENGTHS


def parse_analyze(head: bytes, bad: Callable[[str], BadImage]) -> Layout:
    """Check a header and say where and what the voxels are.

    The format states no directions. Those that nibabel and SPM assume are taken (right to left, posterior to anterior,
    inferior to superior), with SPM's origin where one is stated, and a note says so.

    Parameters
    ----------
    head : bytes
        The first 348 bytes of the header file or more; `is_analyze` is true of them.
    bad : callable
        Makes the error for this file from what is wrong with it and what to do.

    Raises
    ------
    BadImage
        If sizes are impossible; for the voxels, see `Layout.refusal`.
    """
    as_nifti = bytearray(head[:LENGTH])
    for place in _NOT_NIFTIS:
        as_nifti[place] = bytes(place.stop - place.start)
    as_nifti[344:348] = b"ni1\0"
    layout = parse_nifti(bytes(as_nifti), bad)
    make: Any = Spm99AnalyzeHeader
    header = make(head[:LENGTH], endianness=_LENGTHS[head[:4]], check=False)
    affine = checked_affine(header.get_origin_affine(), bad)
    return replace(layout, header=header, affine=affine)
