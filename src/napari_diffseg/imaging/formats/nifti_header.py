"""What a NIfTI header claims, checked with Python's integers before anything is allocated."""

from __future__ import annotations

import math
import struct
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header
from nibabel.quaternions import quat2mat

from napari_diffseg.errors import BadImage
from napari_diffseg.imaging.formats.layout import Layout, checked_affine, checked_shape

if TYPE_CHECKING:
    from collections.abc import Callable

_DTYPES = {
    2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8",
}  # fmt: skip
_UNREAL = {
    1: "single bits", 32: "complex numbers", 128: "colours", 1536: "128-bit numbers", 1792: "complex numbers",
    2048: "complex numbers", 2304: "colours",
}  # fmt: skip
_MAGICS_1 = {b"n+1\0": True, b"ni1\0": False}
_MAGICS_2 = {b"n+2\0": True, b"ni2\0": False}
_MM_PER_UNIT = {1: 1000.0, 3: 0.001}
_SAME_FORM_VOXELS = 0.05
_LONGEST_QUATERNION = 1 + 1e-3
_TAIL_BYTES = 4096


def is_nifti(head: bytes) -> bool:
    """Whether a file that begins so claims to be NIfTI-1 or NIfTI-2."""
    return head[344:348] in _MAGICS_1 or head[4:8] in _MAGICS_2


def parse_nifti(head: bytes, bad: Callable[[str], BadImage]) -> Layout:
    """Check a header and say where and what the voxels are.

    Parameters
    ----------
    head : bytes
        The first 540 bytes of the file, fewer if it has fewer; `is_nifti` is true of them.
    bad : callable
        Makes the error for this file from what is wrong with it and what to do.

    Raises
    ------
    BadImage
        If sizes or orientation are impossible; where only type, scaling or place of the voxels are, the layout holds it
        as its `refusal`.
    """
    first = head[344:348] in _MAGICS_1
    length = 348 if first else 540
    is_single = _MAGICS_1[head[344:348]] if first else _MAGICS_2[head[4:8]]
    order = _byte_order(head, length, bad)
    kind: Any = Nifti1Header if first else Nifti2Header
    header = kind(head[:length], endianness=order, check=False)
    count = int(header["dim"][0])
    if not 1 <= count <= 7:
        raise bad(f"claims {count} dimensions: export it again")
    shape = checked_shape([int(n) for n in header["dim"][1 : count + 1]], bad)
    affine, notes = _affine(header, shape, bad)
    layout = Layout(
        header=header,
        shape=shape,
        dtype=np.dtype("u1"),
        offset=0,
        is_single=is_single,
        slope=1.0,
        inter=0.0,
        affine=affine,
        notes=notes,
        tail_bytes=_TAIL_BYTES,
    )
    try:
        slope, inter = _scaling(float(header["scl_slope"]), float(header["scl_inter"]), bad)
        dtype = _dtype(int(header["datatype"]), int(header["bitpix"]), order, bad)
        offset = _offset(float(header["vox_offset"]), length + 4 if is_single else 0, bad)
    except BadImage as err:
        return replace(layout, refusal=err)
    return replace(layout, dtype=dtype, offset=offset, slope=slope, inter=inter)


def _byte_order(head: bytes, length: int, bad: Callable[[str], BadImage]) -> str:
    if len(head) < length:
        raise bad(f"is cut short, {len(head)} of {length} bytes of its header are there: copy or download it again")
    for order in "<>":
        if struct.unpack(order + "i", head[:4])[0] == length:
            return order
    raise bad("is no NIfTI file, its header states an impossible length: export it again")


def _dtype(code: int, bits: int, order: str, bad: Callable[[str], BadImage]) -> np.dtype[Any]:
    if code not in _DTYPES:
        raise bad(f"holds {_UNREAL.get(code, f'values of the unknown type {code}')}: convert it to real intensities")
    dtype = np.dtype(order + _DTYPES[code])
    if bits != 8 * dtype.itemsize:
        raise bad(f"claims {bits} bits for values of {8 * dtype.itemsize}: export it again")
    return dtype


def _offset(value: float, least: int, bad: Callable[[str], BadImage]) -> int:
    if value == 0:
        return least
    if not math.isfinite(value) or value < least or value != int(value):
        raise bad(f"claims that its voxels begin at byte {value:g}, which cannot be: export it again")
    return int(value)


def _scaling(slope: float, inter: float, bad: Callable[[str], BadImage]) -> tuple[float, float]:
    if slope == 0 or math.isnan(slope):  # both say that no scaling is set
        return 1.0, 0.0
    if math.isinf(slope) or not math.isfinite(inter):
        raise bad(f"scales its values by {slope:g} and adds {inter:g}: export it again")
    return slope, inter


def _affine(
    header: Any, shape: tuple[int, ...], bad: Callable[[str], BadImage]
) -> tuple[npt.NDArray[np.float64], tuple[str, ...]]:
    """The affine that the header means, in mm, and what is doubtful about it.

    Of two orientations the sform is used, and one that cannot be used does not stand in the way of the other; what is
    written on this grid then does without it.
    """
    if header["dim"][0] == 2 and header["pixdim"][3] == 0:
        header["pixdim"][3] = 1  # a slice of which no thickness is stated
    unit = int(header["xyzt_units"]) & 7
    to_mm = np.array([_MM_PER_UNIT.get(unit, 1.0)] * 3 + [1.0])[:, None]
    notes = ["its header states lengths in another unit than mm"] if unit in _MM_PER_UNIT else []
    forms, refusals = _usable_forms(header, to_mm, bad)
    if refusals and not forms:
        raise next(iter(refusals.values()))
    if not forms:
        affine = checked_affine(to_mm * _base_form(header, bad), bad)
        return affine, (*notes, "left/right unknown: its header states no orientation")
    for name in refusals:
        [other] = forms
        notes.append(f"one of the orientations in its header ({name}) is damaged; the other one ({other}) is used")
        header[f"{name}_code"] = 0
    affine = next(iter(forms.values()))
    if len(forms) == 2 and not _farthest(affine, forms["qform"], shape) <= _SAME_FORM_VOXELS:  # NaN differs
        notes.append("its header states two orientations (qform and sform); the sform is used")
    return affine, tuple(notes)


def _usable_forms(
    header: Any, to_mm: npt.NDArray[np.float64], bad: Callable[[str], BadImage]
) -> tuple[dict[str, npt.NDArray[np.float64]], dict[str, BadImage]]:
    """The orientations that a header states, in mm, the sform first; and why one that it states cannot be used."""
    ways: dict[str, Callable[[], npt.NDArray[np.float64]]] = {
        "sform": lambda: checked_affine(to_mm * header.get_sform(), bad),
        "qform": lambda: checked_affine(to_mm * _quaternion_form(header, bad), bad),
    }
    forms, refusals = {}, {}
    for name, form in ways.items():
        if int(header[f"{name}_code"]) > 0:
            try:
                forms[name] = form()
            except BadImage as err:
                refusals[name] = err
    return forms, refusals


def _quaternion_form(header: Any, bad: Callable[[str], BadImage]) -> npt.NDArray[np.float64]:
    """The affine of the qform, as the standard's own code computes it: any factor that is not negative counts as 1."""
    fields = [header[name] for name in ("quatern_b", "quatern_c", "quatern_d")]
    offsets = [header[name] for name in ("qoffset_x", "qoffset_y", "qoffset_z")]
    sizes = np.array(header["pixdim"][1:4], dtype=np.float64)
    if not np.isfinite([*fields, *offsets, *sizes]).all():
        raise bad("has an orientation (qform) that is not a number: repair its header")
    vector = np.array(fields, dtype=np.float64)
    length = float(np.linalg.norm(vector))
    if (sizes < 0).any() or length > _LONGEST_QUATERNION:
        raise bad("has a damaged orientation (qform): repair its header")
    if length > 1:  # by rounding: half a turn, whose first component is 0
        vector /= length
        header["quatern_b"], header["quatern_c"], header["quatern_d"] = vector
    whole = np.array([math.sqrt(max(0.0, 1 - float(vector @ vector))), *vector])
    if header["pixdim"][0] not in (-1, 1):
        header["pixdim"][0] = -1 if header["pixdim"][0] < 0 else 1
    sizes[2] *= float(header["pixdim"][0])
    affine = np.eye(4)
    affine[:3, :3] = np.asarray(quat2mat(whole)) * sizes  # type: ignore[no-untyped-call]
    affine[:3, 3] = offsets
    return affine


def _base_form(header: Any, bad: Callable[[str], BadImage]) -> npt.NDArray[np.float64]:
    """The affine that nibabel, and so every tool built on it, assumes where none is stated."""
    sizes = np.asarray(header["pixdim"][1:4], dtype=np.float64)
    if not np.isfinite(sizes).all() or (sizes <= 0).any():
        raise bad(f"claims voxels of {sizes[0]:g} x {sizes[1]:g} x {sizes[2]:g} mm: repair its header")
    return np.asarray(header.get_base_affine(), dtype=np.float64)


def _farthest(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64], shape: tuple[int, ...]) -> float:
    """How far apart, in voxels of `a`, two affines put a corner of the grid."""
    ends = np.array(shape[:3]) - 1
    corners = np.array([[*(ends * np.array(c)), 1] for c in np.ndindex(2, 2, 2)], dtype=np.float64).T
    return float(np.abs(np.linalg.solve(a, b @ corners) - corners).max())
