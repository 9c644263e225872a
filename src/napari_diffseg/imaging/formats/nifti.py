"""Reads images: NIfTI, Analyze pairs, FreeSurfer's .mgz; through SimpleITK MetaImage, NRRD and DICOM series."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from napari_diffseg.errors import BadImage
from napari_diffseg.imaging.formats.analyze import LENGTH, is_analyze, parse_analyze
from napari_diffseg.imaging.formats.dicom import read_series, series_layout
from napari_diffseg.imaging.formats.itk_image import is_itk, itk_layout, read_itk
from napari_diffseg.imaging.formats.mgh import is_mgh, parse_mgh
from napari_diffseg.imaging.formats.nifti_header import is_nifti, parse_nifti
from napari_diffseg.imaging.formats.original_slices import NOTE, ROWS_TO_POSTERIOR, is_original_slice
from napari_diffseg.imaging.formats.source_file import GZIP_MAGIC, SourceFile
from napari_diffseg.imaging.memory_budget import memory_budget
from napari_diffseg.imaging.names.dicom_files import holds_dicom, is_dicom
from napari_diffseg.imaging.names.naming import shown_name
from napari_diffseg.imaging.names.pairs import header_of, is_header_name, is_voxels_name, stem_of, voxels_of
from napari_diffseg.imaging.names.placeholders import how_to_fetch, what_begins_so
from napari_diffseg.imaging.volume import Volume

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_diffseg.imaging.formats.layout import Layout

logger = logging.getLogger(__name__)

_HEADER_BYTES = 540
_LENGTHS = (LENGTH.to_bytes(4, "little"), LENGTH.to_bytes(4, "big"))
_PAIR_TAIL_BYTES = 1 << 20
_WHOLE = 1e-3


def read_volume(path: Path | str, *, channel: int | None = None) -> Volume:
    """Read one image; what it is, is seen from its content, not from its name.

    The header's claims are checked against the file's size and the free memory before any is taken, and the
    checksums of compressed files are verified.

    Parameters
    ----------
    path : Path
        NIfTI-1 or NIfTI-2, .nii or a pair by its .hdr or its .img, compressed or not; an Analyze pair; FreeSurfer
        .mgz or .mgh; with the extra `formats` MetaImage (.mha, .mhd), NRRD (.nrrd, .nhdr), and a series of DICOM files
        by its folder or one of its files.
    channel : int, optional
        Which volume of a 4-D file, from 0; a 3-D file has channel 0 only.

    Returns
    -------
    Volume
        Integers as they are stored when the header does not scale them, else float32. Voxels that are not finite are
        0, and counted in the notes.

    Raises
    ------
    BadImage
        If the file is damaged, too large, of another kind, of one value throughout, or 4-D without `channel`.
    """
    stored = _read(Path(path))
    return stored.volume(stored.index(channel))


def read_map(path: Path | str) -> Volume:
    """Read a map that was computed, such as a probability: as `read_volume`, but it may be 0 throughout.

    Raises
    ------
    BadImage
        As `read_volume`.
    """
    stored = _read(Path(path))
    return stored.volume(stored.index(None), constant=True)


def read_mask(path: Path | str) -> Volume:
    """Read a label mask: whole numbers, which may be 0 throughout.

    Values within 1e-3 of whole numbers, as a scaled file may hold, are rounded; 0 and one other value, as 0.5 or
    14.245, are 0 and 1. A note says so.

    Returns
    -------
    Volume
        Of an integer type.

    Raises
    ------
    BadImage
        As `read_volume`; also if the values are no labels.
    """
    stored = _read(Path(path))
    volume = stored.volume(stored.index(None), constant=True)
    if volume.data.dtype.kind in "iu":
        return volume
    whole, notes = _whole_numbers(volume.data, stored)
    for note in notes:  # of a truth or a training case nobody sees the volume's notes
        logger.warning("%s: %s.", shown_name(stored.path), note)
    low, high = float(whole.min()), float(whole.max())
    kind = next((k for k in ("u1", "i2", "i4") if np.iinfo(k).min <= low and high <= np.iinfo(k).max), None)
    if kind is None:
        raise stored.bad(f"holds values from {low:g} to {high:g} and is no label mask: give one of labels")
    return replace(volume, data=whole.astype(kind), notes=(*volume.notes, *notes))


def _whole_numbers(values: npt.NDArray[np.float32], stored: _Stored) -> tuple[npt.NDArray[np.float32], tuple[str, ...]]:
    """The labels that values mean, and a note where they are not whole numbers to the last bit."""
    whole = np.rint(values)
    off = np.abs(values - whole)
    if not off.any():
        return whole, ()
    marked = values[values != 0]
    if marked.min() == marked.max() > 0 and (off.max() > _WHOLE or not whole.any()):
        return (values != 0).astype(np.float32), (f"holds 0 and {marked[0]:g} alone, which count as 0 and 1",)
    if off.max() > _WHOLE or not whole.any():
        raise stored.bad("holds fractions and is no label mask: give one of whole numbers")
    count = int(np.count_nonzero(off))
    return whole, (f"{count} voxels were rounded to whole numbers, from which they differ by {off.max():.1g} at most",)


def read_channels(path: Path | str, *, only: Sequence[int] | None = None, constant: bool = False) -> list[Volume]:
    """Read the volumes of a 4-D file, in their order; a 3-D file is one.

    Parameters
    ----------
    path : Path
        As for `read_volume`.
    only : sequence of int, optional
        Channels wanted, from 0, in the order wanted; the others may then be empty.
    constant : bool
        Whether one may be of one value throughout, as where it is only looked at.

    Raises
    ------
    BadImage
        As `read_volume`.
    """
    stored = _read(Path(path))
    wanted = range(stored.layout.channels) if only is None else only
    return [stored.volume(stored.index(k), constant=constant) for k in wanted]


def read_grid(path: Path | str) -> Volume:
    """The grid of a file from its header alone, whatever its voxels hold; of a 4-D file, that of each volume.

    Returns
    -------
    Volume
        0 in every voxel, which takes no memory.

    Raises
    ------
    BadImage
        If the file has no header that could be read.
    """
    path = header_of(Path(path))
    layout = _layout_of(path)
    data = np.broadcast_to(np.uint8(0), layout.shape[:3])
    return _placed(Volume(data, layout.affine, layout.header, path, layout.notes))


def count_channels(path: Path | str) -> int:
    """How many volumes a file holds, from its header alone; 1 for a 3-D file.

    Raises
    ------
    BadImage
        If the file has no header that could be read.
    """
    return _layout_of(header_of(Path(path))).channels


@dataclass(frozen=True, eq=False)
class _Stored:
    """A file's voxels as they are stored, (X, Y, Z, channels), and what is known about them."""

    path: Path
    layout: Layout
    array: npt.NDArray[Any]
    digest: str
    notes: tuple[str, ...]

    def bad(self, what: str) -> BadImage:
        return BadImage(f"{shown_name(self.path)} {what}.")

    def index(self, channel: int | None) -> int:
        """The channel meant: it must be named exactly when there are several."""
        if channel is None:
            if self.layout.channels > 1:
                raise self.bad(
                    f"holds {self.layout.channels} volumes in one file: say which is meant, or name its channels"
                )
            return 0
        if not 0 <= channel < self.layout.channels:
            raise self.bad(f"holds {self.layout.channels} volumes, so there is no channel {channel}: count from 0")
        return channel

    def volume(self, channel: int, *, constant: bool = False) -> Volume:
        """One channel as a volume, scaled, finite, and not of one value unless `constant`."""
        data, repaired = self._scaled(self.array[..., channel])
        if not constant and data.min() == data.max():
            raise self.bad(f"is {data.flat[0]:g} in every voxel: there is nothing to segment in it, give another image")
        notes = self.notes if not repaired else (*self.notes, f"{repaired} voxels were not finite and are 0 now")
        digest = self.digest if self.layout.channels == 1 else f"{self.digest}:{channel}"
        return _placed(Volume(data, self.layout.affine, self.layout.header, self.path, notes, digest))

    def _scaled(self, stored: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], int]:
        slope, inter = self.layout.slope, self.layout.inter
        if (slope, inter) == (1.0, 0.0) and stored.dtype.kind in "iu":
            return stored.astype(stored.dtype.newbyteorder("="), copy=False), 0
        with np.errstate(over="ignore", invalid="ignore"):
            data = stored if (slope, inter) == (1.0, 0.0) else stored * np.float64(slope) + inter
            data = data.astype(np.float32)
        finite = np.isfinite(data)
        count = data.size - int(np.count_nonzero(finite))
        if count == data.size:
            raise self.bad("holds no finite value: export it again")
        if count:
            data[~finite] = 0
        return data, count


def _placed(volume: Volume) -> Volume:
    """The volume where it lies; the original authors' slices do not say so themselves."""
    if volume.path is None or not is_original_slice(volume.path.name, volume.shape, volume.affine):
        return volume
    return replace(volume, affine=ROWS_TO_POSTERIOR, notes=(*volume.notes, NOTE))


def _read(given: Path) -> _Stored:
    path = header_of(given)
    if (kind := _itk_kind(path)) is not None:
        read = read_series if kind == "dicom" else read_itk
        image = read(path, partial(_check_memory, path))
        return _Stored(path, image.layout, image.array, image.digest, image.layout.notes)
    with SourceFile(path) as file:
        layout = _layout(file)
        if layout.is_single:
            return _read_voxels(file, layout, path)
        file.finish(_PAIR_TAIL_BYTES)  # extensions
    with SourceFile(_voxels_of_pair(path)) as voxels:
        return _read_voxels(voxels, layout, path)


def _layout_of(path: Path) -> Layout:
    """What a file, or a series of DICOM files, claims to be."""
    if (kind := _itk_kind(path)) is not None:
        return series_layout(path) if kind == "dicom" else itk_layout(path)
    with SourceFile(path) as file:
        return _layout(file)


def _itk_kind(path: Path) -> Literal["dicom", "itk"] | None:
    """What SimpleITK is to read: a DICOM series, by its folder or one file, or a MetaImage or NRRD; else None."""
    if path.is_dir():
        return "dicom" if holds_dicom(path) else None
    with SourceFile(path) as file:
        head = file.peek(_HEADER_BYTES)
        if file.is_compressed:
            return None
    return "dicom" if is_dicom(head) else "itk" if is_itk(head) else None


def _layout(file: SourceFile) -> Layout:
    head = file.peek(_HEADER_BYTES)
    with np.errstate(all="ignore"):  # numbers that overflow are found, and refused, by the parsers' checks
        if is_nifti(head):
            return parse_nifti(head, file.bad)
        if is_mgh(head):
            return parse_mgh(head, file.bad)
        if is_header_name(file.path.name) and is_analyze(head):
            return parse_analyze(head, file.bad)
    if is_voxels_name(file.path.name):
        raise file.bad(
            f"holds the voxels of a pair, but {shown_name(stem_of(file.path))}.hdr is not beside it: "
            "copy both files into one folder"
        )
    if (what := what_begins_so(head)) is not None and not is_dicom(head):
        raise file.bad(f"is no image but {what}: {how_to_fetch(what)}")
    raise file.bad(f"is no image but {_what_it_is(head)}: give a NIfTI (.nii, .nii.gz) or FreeSurfer (.mgz) file")


def _read_voxels(file: SourceFile, layout: Layout, path: Path) -> _Stored:
    if layout.refusal is not None:
        raise layout.refusal
    _check_size(file, layout)
    file.skip(layout.offset)
    buffer = file.read_array(layout.nbytes)
    digest, ignored = file.finish(layout.tail_bytes)
    notes = layout.notes if not ignored else (*layout.notes, f"{ignored} bytes after the end of the image were ignored")
    array = buffer.view(layout.dtype).reshape((*layout.shape[:3], layout.channels), order="F")
    return _Stored(path, layout, array, digest, notes)


def _check_size(file: SourceFile, layout: Layout) -> None:
    """Refuse what the file cannot hold, and what the memory cannot, before taking any."""
    claimed = " x ".join(str(n) for n in layout.shape)
    if layout.offset + layout.nbytes > file.capacity():
        raise file.bad(
            f"is cut short or its header is false, {claimed} voxels need {layout.nbytes} bytes and cannot be in a file "
            f"of {file.size}: copy or download it again"
        )
    _check_memory(file.path, layout)


def _check_memory(path: Path, layout: Layout) -> None:
    if layout.refusal is not None:
        raise layout.refusal
    need = layout.nbytes + 2 * 4 * math.prod(layout.shape)
    budget = memory_budget()
    if need > budget:
        raise BadImage(
            f"{shown_name(path)} has {' x '.join(map(str, layout.shape))} voxels, which need {need / 1e9:.1f} GB of "
            f"memory, and {budget / 1e9:.1f} GB may be used: crop it, or close other programs."
        )


def _voxels_of_pair(path: Path) -> Path:
    voxels = voxels_of(path)
    if voxels is None:
        raise BadImage(
            f"{shown_name(path)} is the header of a pair, but {shown_name(stem_of(path))}.img is not beside it: "
            "copy both files into one folder."
        )
    return voxels


def _what_it_is(head: bytes) -> str:
    start = head[:64].lstrip().lower()
    if not head:
        return "an empty file"
    if head[:2] == GZIP_MAGIC:
        return "a file that was compressed twice"
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "a web page, perhaps of a failed download"
    if is_dicom(head) or is_itk(head):
        return "a DICOM file, MetaImage or NRRD that was compressed as a whole"
    if head[:4] in _LENGTHS:
        return "of the Analyze format, whose header ends in .hdr" if is_analyze(head) else "the start of one"
    return "something else"
