"""MetaImage (.mha, .mhd) and NRRD (.nrrd, .nhdr) through SimpleITK, an extra; what they claim is checked before."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from napari_diffseg.errors import BadImage, BadRequest
from napari_diffseg.extras import check_extra
from napari_diffseg.imaging.formats.layout import Layout, checked_affine, checked_shape
from napari_diffseg.imaging.names.naming import shown_name

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

TO_RAS: Final = np.diag([-1.0, -1.0, 1.0, 1.0])
UNKNOWN_SIDES: Final = "left/right unknown: its header states no orientation"

_META = re.compile(rb"\s*(?:ObjectType|NDims|Comment|ObjectSubType)\s*=")
_NRRD = b"NRRD000"
_NO_DIRECTION_META = re.compile(rb"^\s*(?:TransformMatrix|Rotation|Orientation)\s*=", re.MULTILINE)
_DATA_FILE = re.compile(r"^(?:ElementDataFile\s*=|data ?file:)\s*(?P<name>\S.*?)\s*$", re.MULTILINE | re.IGNORECASE)
_PATIENT_SPACES = re.compile(r"(?:right|left)-(?:anterior|posterior)-superior|RAS|LPS|LAS", re.IGNORECASE)
_ADDRESSED = re.compile(r"^.*\(0x[0-9a-f]+\):")
_BITS = re.compile(r"(\d+)-bit")
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
        If SimpleITK is not installed, or the header cannot be, or is of no scalar image.
    """
    return _layout(_informed(path), path)


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
    reader = _informed(path)
    layout = _layout(reader, path)
    check(layout)
    array = array_of(executed(reader, path), layout)
    return ItkImage(replace(layout, dtype=array.dtype), array, digest_of(_files_of(path)))


def simpleitk(what: str) -> Any:
    """SimpleITK, told to keep its warnings to itself: what is wrong with a file is said once, by the error.

    Raises
    ------
    BadImage
        If it is not installed.
    """
    try:
        check_extra("formats")
    except BadRequest as err:
        raise BadImage(f"{what}: {err}") from err
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    return sitk


def executed(reader: Any, path: Path) -> Any:
    """The image of a reader.

    Raises
    ------
    BadImage
        If its voxels cannot be read.
    """
    try:
        return reader.Execute()
    except RuntimeError as err:
        raise BadImage(f"{shown_name(path)} is cut short or damaged ({last_line(err)}): copy it again.") from err


def array_of(image: Any, layout: Layout) -> npt.NDArray[Any]:
    """The values of an image of SimpleITK, (X, Y, Z, channels)."""
    import SimpleITK as sitk

    values = sitk.GetArrayFromImage(image)  # the first axis last, channels behind it
    if image.GetNumberOfComponentsPerPixel() > 1:
        values = np.moveaxis(values, -1, 0)
    return np.asarray(values.T.reshape((*layout.shape[:3], layout.channels), order="F"))


def digest_of(files: Sequence[Path]) -> str:
    """SHA-256 of the bytes of files, in their order."""
    content = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            content.update(hashlib.file_digest(file, "sha256").digest() if len(files) > 1 else b"")
            if len(files) == 1:
                return hashlib.file_digest(file, "sha256").hexdigest()
    return content.hexdigest()


def last_line(err: Exception) -> str:
    """What a library says is wrong, without the path of its source and the address of its object."""
    lines = [_ADDRESSED.sub("", line).strip() for line in str(err).splitlines() if line.strip()]
    return lines[-1][-120:].rstrip(".: ") if lines else "no reason is given"


def _informed(path: Path) -> Any:
    """A reader that has read the header."""
    sitk = simpleitk(shown_name(path))
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as err:
        raise BadImage(
            f"{shown_name(path)} cannot be read ({last_line(err)}): copy it again, with the file of its voxels where "
            "that is another one."
        ) from err
    return reader


def _layout(reader: Any, path: Path) -> Layout:
    def bad(what: str) -> BadImage:
        return BadImage(f"{shown_name(path)} {what}.")

    import SimpleITK as sitk

    sizes, components = [int(n) for n in reader.GetSize()], int(reader.GetNumberOfComponents())
    if components > 1:
        sizes = [*sizes, *[1] * (3 - len(sizes)), components]
    kind = sitk.GetPixelIDValueAsString(reader.GetPixelIDValue())
    bits = _BITS.search(kind)
    refusal = bad("holds complex numbers: convert it to real intensities") if "complex" in kind else None
    return Layout(
        header=None,
        shape=checked_shape(sizes, bad),
        dtype=np.dtype(f"V{int(bits[1]) // 8}" if bits else "f8"),
        offset=0,
        is_single=True,
        slope=1.0,
        inter=0.0,
        affine=checked_affine(affine_of(reader), bad),
        notes=_notes(reader, path),
        tail_bytes=0,
        refusal=refusal,
    )


def affine_of(image: Any) -> npt.NDArray[np.float64]:
    """Voxel indices to RAS+ mm of an image, or reader, of SimpleITK, whose world is LPS+: (4, 4)."""
    count = len(image.GetSpacing())
    direction = np.array(image.GetDirection()).reshape(count, count)
    affine = np.eye(4)
    n = min(count, 3)
    affine[:n, :n] = (direction * np.array(image.GetSpacing()))[:n, :n]
    affine[:n, 3] = image.GetOrigin()[:n]
    return TO_RAS @ affine


def _notes(reader: Any, path: Path) -> tuple[str, ...]:
    if "Nrrd" in reader.GetMetaData("ITK_InputFilterName"):
        space = reader.GetMetaData("NRRD_space") if reader.HasMetaDataKey("NRRD_space") else ""
        return () if _PATIENT_SPACES.match(space) else (UNKNOWN_SIDES,)
    return () if _NO_DIRECTION_META.search(_head(path)) else (UNKNOWN_SIDES,)


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_HEADER_BYTES)


def _files_of(path: Path) -> list[Path]:
    """A file, and that of its voxels where its header names another one."""
    named = _DATA_FILE.search(_head(path).split(b"\n\n", 1)[0].decode("latin-1"))
    if named is None or named["name"].upper() in ("LOCAL", "LIST") or "%" in named["name"]:
        return [path]
    beside = path.parent / named["name"]
    return [path, beside] if beside.is_file() else [path]
