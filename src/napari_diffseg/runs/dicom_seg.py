"""A run's mask and its probability as DICOM segmentations (SEG) of the series that its images came from.

highdicom writes the files. It is given whole volumes, a frame for every slice, so that no reader has to guess which
slices were left out as empty; and numbers that are not its own, since 0.28.2 multiplies a uint8 array in its place.
"""

from __future__ import annotations

import warnings
from copy import copy
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from napari_diffseg.errors import BadImage, Remedy
from napari_diffseg.imaging.atomic import atomic_write, make_folder
from napari_diffseg.imaging.formats.dicom_headers import read_dicom_series
from napari_diffseg.imaging.geometry.regrid import LINEAR, has_same_voxels, regrid
from napari_diffseg.imaging.names.naming import shown_name
from napari_diffseg.imaging.volume import describe_grid

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pydicom import Dataset

    from napari_diffseg.imaging.formats.dicom_headers import DicomSeries
    from napari_diffseg.imaging.volume import Volume
    from napari_diffseg.runs.stored_run import StoredRun

Mask = npt.NDArray[np.uint8]
Float = npt.NDArray[np.float32]

SEG_ENDING: Final = ".dcm"

_ALIKE: Final = 0.99
"""Correlation of two images' values, inside the one that may be skull-stripped, from which they show one patient."""
_FEWEST: Final = 50
"""Voxels for which that is asked."""
_LONGEST: Final = 64
"""Characters of a short text in DICOM."""
_MAY_BE_EMPTY: Final = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate",
    "StudyTime", "ReferringPhysicianName",
)  # fmt: skip
"""What anonymisation takes away; the standard lets these be empty, but not absent."""
_NEEDED: Final = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")


@dataclass(frozen=True)
class SegChoice:
    """Where DICOM segmentations belong.

    Attributes
    ----------
    series : Path
        Folder of the series that the run's images came from, or one of its files.
    images : tuple of Volume
        Images of the run, for one that was not read from the series itself: their voxels tell whether it shows the same
        patient.
    """

    series: Path
    images: tuple[Volume, ...] = ()


@dataclass(frozen=True, eq=False)
class Segment:
    """What one file holds.

    Attributes
    ----------
    what : str
        Such as `mask`: its label.
    words : str
        What it is, in a sentence's part.
    values : ndarray, (labels, X, Y, Z)
        On the run's voxels: uint8 of 0 and 1 for masks, float32 in [0, 1] for probabilities.
    by_hand : bool
        Whether somebody corrected it.
    """

    what: str
    words: str
    values: Mask | Float
    by_hand: bool = False


def series_of_run(choice: SegChoice, run: StoredRun) -> DicomSeries:
    """The series that was chosen, once it is sure that it shows the run's patient on the run's voxels.

    Raises
    ------
    BadRequest
        If what reads and writes such files is not installed.
    BadImage
        If the series cannot be read, lies on other voxels, or nothing tells that it shows the same patient.
    """
    series = read_dicom_series(choice.series)
    name = shown_name(series.path)
    if not has_same_voxels(run.grid, series.volume):
        raise BadImage(
            f"The DICOM series {name} is {describe_grid(series.volume)}, but the run is {describe_grid(run.grid)}: "
            "choose the series on whose voxels the run was made."
        )
    _check_patient(series, run, choice.images)
    if missing := [key for key in _NEEDED if not series.headers[0].get(key)]:
        raise BadImage(f"The DICOM series {name} has no {missing[0]}, without which nothing can refer to it.")
    return series


def write_segmentation(
    path: Path, segment: Segment, series: DicomSeries, run: StoredRun, *, number: int, overwrite: bool = False
) -> Path:
    """Write a DICOM segmentation: one segment a label, on the voxels of its series.

    Parameters
    ----------
    path : Path
        Of the file.
    segment : Segment
        What it holds; probabilities become fractional segments of 256 levels.
    series : DicomSeries
        As `series_of_run` gives it.
    run : StoredRun
        Of which it is; checkpoint, seed and settings are named in the file.
    number : int
        Instance number, from 1.
    overwrite : bool
        Replace a file that is there.

    Raises
    ------
    OutputExists, OutputFailed
        As `atomic_write`.
    """
    written = make_segmentation(segment, series, run, number=number)
    make_folder(path.parent)
    atomic_write(path, lambda file: written.save_as(file), overwrite=overwrite)
    return path


def make_segmentation(segment: Segment, series: DicomSeries, run: StoredRun, *, number: int) -> Dataset:
    """The data set of `write_segmentation`; its UID is a new one."""
    from highdicom import UID
    from highdicom.seg import Segmentation, SegmentationTypeValues

    is_mask = segment.values.dtype == np.uint8
    moved = np.stack([regrid(one, run.grid, series.volume, order=LINEAR) for one in segment.values])
    ours = version("napari-diffseg")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module="highdicom|pydicom")  # of names in the series
        return Segmentation(
            source_images=_sources(series),
            pixel_array=np.array(moved.transpose(3, 2, 1, 0), order="C"),  # a copy: see above
            segmentation_type=SegmentationTypeValues.BINARY if is_mask else SegmentationTypeValues.FRACTIONAL,
            segment_descriptions=_descriptions(segment, run),
            series_instance_uid=UID(),
            series_number=1000 + int(series.headers[0].get("SeriesNumber") or 0),
            sop_instance_uid=UID(),
            instance_number=number,
            manufacturer="napari-diffseg",
            manufacturer_model_name="napari-diffseg",
            software_versions=ours,
            device_serial_number=run.record.checkpoint_digest[:_LONGEST] or "unknown",
            content_label=segment.what.upper(),
            content_description=segment.words[:_LONGEST],
            series_description=f"napari-diffseg {segment.what}",
            omit_empty_frames=False,
        )


def _descriptions(segment: Segment, run: StoredRun) -> list[Any]:
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.seg import SegmentAlgorithmTypeValues, SegmentDescription
    from pydicom.sr.codedict import codes

    kinds = SegmentAlgorithmTypeValues
    made_by = AlgorithmIdentificationSequence(
        name="napari-diffseg",
        family=codes.DCM.ArtificialIntelligence,
        version=version("napari-diffseg"),
        parameters=_provenance(segment, run),
    )
    return [
        SegmentDescription(
            segment_number=n,
            segment_label=label[:_LONGEST],
            segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
            segmented_property_type=codes.SCT.Lesion,
            algorithm_type=kinds.SEMIAUTOMATIC if segment.by_hand else kinds.AUTOMATIC,
            algorithm_identification=made_by,
            anatomic_regions=[codes.SCT.Brain],
        )
        for n, label in enumerate(run.labels, start=1)
    ]


def _provenance(segment: Segment, run: StoredRun) -> dict[str, str]:
    record = run.record
    said = {
        "what": segment.words,
        "checkpoint": record.checkpoint.file,
        "checkpoint_sha256": record.checkpoint_digest,
        "seed": record.request.get("seed"),
        "members": len(run.members),
        "sampler": record.sampler,
        "timesteps": record.timesteps,
        "run_began": record.began,
    }
    return {name: str(value) for name, value in said.items() if value not in (None, "")}


def _sources(series: DicomSeries) -> list[Dataset]:
    """The headers as highdicom needs them: one direction for all, and what anonymisation took away, empty.

    The distance between slices is that of their positions. Readers place slices by it, and what a series says of it is
    often the gap, or wrong; highdicom takes it from the series even where it is given.
    """
    across = np.cross(series.volume.affine[:3, 0], series.volume.affine[:3, 1])
    step = abs(float(series.volume.affine[:3, 2] @ across) / float(np.linalg.norm(across)))
    made = []
    for header in series.headers:
        source = copy(header)
        for name in _MAY_BE_EMPTY:
            if name not in source:
                setattr(source, name, "")
        source.ImageOrientationPatient = series.headers[0].ImageOrientationPatient
        source.SpacingBetweenSlices = f"{step:.7g}"
        if not source.get("SliceThickness"):
            source.SliceThickness = f"{step:.7g}"
        made.append(source)
    return made


def _check_patient(series: DicomSeries, run: StoredRun, images: Sequence[Volume]) -> None:
    known = set(run.record.inputs.values())
    if series.volume.digest in known:
        return
    name = shown_name(series.path)
    own = [image for image in images if image.digest in known and has_same_voxels(image, series.volume)]
    if not own:
        raise BadImage(
            f"The run's images were not read from the DICOM series {name} itself, so nothing tells whether it shows "
            "the same patient: give an image of the run, too, so that the two can be compared.",
            Remedy("image"),
        )
    if not any(_show_the_same(image, series.volume) for image in own):
        raise BadImage(f"The DICOM series {name} shows something else than the run's images: nothing is written.")


def _show_the_same(image: Volume, series: Volume) -> bool:
    """Whether two images on the same voxels agree, but for scale and offset, wherever the first is not 0."""
    moved = regrid(image.data.astype(np.float32), image, series, order=LINEAR)
    inside = (moved != 0) & np.isfinite(series.data)
    if np.count_nonzero(inside) < _FEWEST:
        return False
    a, b = moved[inside].astype(np.float64), series.data[inside].astype(np.float64)
    if a.std() == 0 or b.std() == 0:
        return False
    return bool(np.corrcoef(a, b)[0, 1] >= _ALIKE)
