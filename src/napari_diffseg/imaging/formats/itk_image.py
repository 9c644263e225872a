"""MetaImage (.mha, .mhd) and NRRD (.nrrd, .nhdr) through SimpleITK, an extra; what they claim is checked before."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from napari_diffseg.errors import BadImage
from napari_diffseg.imaging.formats.itk_process import ItkHeader, ItkProcess
from napari_diffseg.imaging.formats.layout import Layout, checked_affine, checked_shape
from napari_diffseg.imaging.names.naming import shown_name

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

TO_RAS: Final = np.diag([-1.0, -1.0, 1.0, 1.0])

_UNKNOWN_SIDES: Final = "left/right unknown: its header states no orientation"
_META = re.compile(rb"\s*(?:ObjectType|NDims|Comment|ObjectSubType)\s*=")
_NRRD = b"NRRD000"
_NRRD_SPACE = "NRRD_space"
_DIRECTION_META = re.compile(rb"^\s*(?:TransformMatrix|Rotation|Orientation)\s*=", re.MULTILINE)
_DATA_FILE = re.compile(r"^(?:ElementDataFile\s*=|data ?file:)\s*(?P<name>\S.*?)\s*$", re.MULTILINE | re.IGNORECASE)
_PATIENT_SPACES = re.compile(r"(?:right|left)-(?:anterior|posterior)-superior|RAS|LPS|LAS", re.IGNORECASE)
_HEADER_BYTES = 1 << 16


@dataclass(frozen=True, eq=False)
class ItkImage:
    """An image as SimpleITK reads it.

    Attributes
    ----------
    layout : Layout
        Where its voxels lie.
    array : ndarray, (X, Y, Z, channels)
        Its values, in the file's order of axes.
    digest : str
        SHA-256 of the bytes of its files.
    """

    layout: Layout
    array: npt.NDArray[Any]
    digest: str


def is_itk(head: bytes) -> bool:
    """Whether a file that begins so claims to be a MetaImage or an NRRD."""
    return head.startswith(_NRRD) or _META.match(head) is not None


def itk_layout(path: Path) -> Layout:
    """What a MetaImage or an NRRD claims to be, its voxels unread.

    Raises
    ------
    BadImage
        If SimpleITK is not installed, or the header cannot be.
    """
    with ItkProcess(path) as process:
        [header] = process.headers([path], tags=[_NRRD_SPACE])
        return _layout(header, path)


def read_itk(path: Path, check: Callable[[Layout], None]) -> ItkImage:
    """Read a MetaImage or an NRRD.

    Parameters
    ----------
    path : Path
        Its file, or its header where the voxels lie in another one.
    check : callable
        Is asked before the voxels are read, and refuses what is too large.

    Raises
    ------
    BadImage
        As `itk_layout`; also if the voxels are cut short or damaged.
    """
    with ItkProcess(path) as process:
        [header] = process.headers([path], tags=[_NRRD_SPACE])
        layout = _layout(header, path)
        check(layout)
        array = shaped(process.values([path]), layout, path)
    return ItkImage(replace(layout, dtype=array.dtype), array, digest_of(_files_of(path)))


def shaped(values: npt.NDArray[Any], layout: Layout, path: Path) -> npt.NDArray[Any]:
    """Values in one line as (X, Y, Z, channels).

    Raises
    ------
    BadImage
        If there are more or fewer than the header claims.
    """
    shape = (*layout.shape[:3], layout.channels)
    if values.size != np.prod(shape):
        raise BadImage(f"{shown_name(path)} holds other than its header claims: copy it again.")
    return values.reshape(shape, order="F")


def digest_of(files: Sequence[Path]) -> str:
    """SHA-256 of the bytes of a file; of several, of their digests in their order."""
    digests = []
    for path in files:
        with path.open("rb") as file:
            digests.append(hashlib.file_digest(file, "sha256"))
    if len(digests) == 1:
        return digests[0].hexdigest()
    return hashlib.sha256(b"".join(digest.digest() for digest in digests)).hexdigest()


def _layout(header: ItkHeader, path: Path) -> Layout:
    def bad(what: str) -> BadImage:
        return BadImage(f"{shown_name(path)} {what}.")

    sizes = list(header.size)
    if header.components > 1:
        sizes = [*sizes, *[1] * (3 - len(sizes)), header.components]
    refusal = bad("holds complex numbers: convert it to real intensities") if "complex" in header.kind else None
    return Layout(
        header=None,
        shape=checked_shape(sizes, bad),
        dtype=np.dtype(f"V{header.bytes_a_value}"),
        offset=0,
        is_single=True,
        slope=1.0,
        inter=0.0,
        affine=checked_affine(_affine(header), bad),
        notes=_notes(header, path),
        tail_bytes=0,
        refusal=refusal,
    )


def _affine(header: ItkHeader) -> npt.NDArray[np.float64]:
    """Voxel indices to RAS+ mm, (4, 4); an axis that the file lacks has voxels of 1 mm."""
    n = min(header.spacing.size, 3)
    affine = np.eye(4)
    affine[:n, :n] = (header.direction * header.spacing)[:n, :n]
    affine[:n, 3] = header.origin[:n]
    return TO_RAS @ affine


def _notes(header: ItkHeader, path: Path) -> tuple[str, ...]:
    head = _head(path)
    if head.startswith(_NRRD):
        stated = _PATIENT_SPACES.match(header.tags.get(_NRRD_SPACE, "")) is not None
    else:
        stated = _DIRECTION_META.search(head) is not None
    return () if stated else (_UNKNOWN_SIDES,)


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_HEADER_BYTES)


def _files_of(path: Path) -> list[Path]:
    """A file, and that of its voxels where its header names another one."""
    named = _DATA_FILE.search(_head(path).split(b"\n\n", 1)[0].decode("latin-1"))
    if named is None or "\0" in named["name"] or named["name"].upper() in ("LOCAL", "LIST"):
        return [path]
    beside = path.parent / named["name"]
    return [path, beside] if beside.is_file() else [path]
