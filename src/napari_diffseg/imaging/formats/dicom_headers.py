"""The headers of a DICOM series beside its voxels, for results that go back to where the series came from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from napari_diffseg.errors import BadImage
from napari_diffseg.extras import check_extra
from napari_diffseg.imaging.formats.itk_image import TO_RAS
from napari_diffseg.imaging.formats.nifti import read_volume
from napari_diffseg.imaging.names.dicom_files import dicom_files_in
from napari_diffseg.imaging.names.naming import shown_name

if TYPE_CHECKING:
    from pathlib import Path

    from pydicom import Dataset

    from napari_diffseg.imaging.volume import Volume

_OFF: Final = 0.15
"""Voxels by which a slice may lie beside its place: the reader of voxels allows 0.1, and rounding comes on top."""
_ONE_FOR_ALL: Final = ("PatientID", "PatientName", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")


@dataclass(frozen=True, eq=False)
class DicomSeries:
    """A series: its voxels as one volume, and what each of its files says.

    Attributes
    ----------
    path : Path
        Its folder.
    volume : Volume
        (columns, rows, slices); its digest is of the files.
    headers : tuple of pydicom.Dataset
        Of each slice, in the volume's order; without voxels.
    """

    path: Path
    volume: Volume
    headers: tuple[Dataset, ...]


def read_dicom_series(path: Path) -> DicomSeries:
    """Read a series with its headers.

    Parameters
    ----------
    path : Path
        A folder of one series, or one of its files.

    Raises
    ------
    BadRequest
        If the extra that reads headers is not installed.
    BadImage
        If there is no series, or several, or one that is no volume, or whose files are of several patients or studies.
    """
    check_extra("dicom")
    volume = read_volume(path)
    folder = path if path.is_dir() else path.parent
    files = dicom_files_in(folder)
    if not files:
        raise BadImage(f"{shown_name(path)} is no DICOM series: give the folder of the one that the images came from.")
    headers = _in_order([_header_of(file) for file in files], path, volume)
    for name in _ONE_FOR_ALL:
        if len({str(header.get(name, "")) for header in headers}) > 1:
            raise BadImage(f"{shown_name(path)} has slices of several {name}: give each series a folder of its own.")
    return DicomSeries(folder, volume, tuple(headers))


def _header_of(file: Path) -> Dataset:
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    try:
        return dcmread(file, stop_before_pixels=True, force=True)
    except (InvalidDicomError, OSError, ValueError, TypeError, AttributeError) as err:
        raise BadImage(f"{shown_name(file)} has a DICOM header that cannot be read: copy it again.") from err


def _in_order(headers: list[Dataset], path: Path, volume: Volume) -> list[Dataset]:
    """One header for each slice of the volume, which the volume's reader has put in order already."""
    if not path.is_dir():
        meant = next(str(h.get("SeriesInstanceUID", "")) for h in headers if h.filename == str(path))
        headers = [h for h in headers if str(h.get("SeriesInstanceUID", "")) == meant]
    found: dict[int, Dataset] = {}
    for header in headers:
        position = np.array([float(x) for x in header.get("ImagePositionPatient", ())])
        place = np.full(3, np.inf)
        if position.shape == (3,):
            place = np.linalg.solve(volume.affine, TO_RAS @ [*position, 1.0])[:3]
        n = int(np.rint(place[2])) if np.isfinite(place).all() else -1
        if np.abs(place - [0, 0, n]).max() > _OFF or not 0 <= n < volume.shape[2]:
            raise BadImage(
                f"{shown_name(path)} has a slice whose header puts it beside the others: no result can be written on "
                "the voxels of this series."
            )
        found[n] = header
    if len(found) < volume.shape[2]:
        raise BadImage(f"{shown_name(path)} has slices without a header of their own: copy the whole series.")
    return [found[n] for n in range(volume.shape[2])]
