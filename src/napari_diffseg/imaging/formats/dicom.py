"""A series of DICOM files as one volume, read by SimpleITK slice by slice; where it lies is worked out here.

SimpleITK's own reader of series straightens a sheared one, and gives one of which slices are missing another spacing.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from napari_diffseg.errors import BadImage
from napari_diffseg.imaging.formats.itk_image import TO_RAS, ItkImage, digest_of, executed, last_line, simpleitk
from napari_diffseg.imaging.formats.layout import Layout, checked_affine, checked_shape
from napari_diffseg.imaging.names.dicom_files import dicom_files_in
from napari_diffseg.imaging.names.naming import shown_name

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

Float = npt.NDArray[np.float64]

_SHOWN: Final = 5
_SAME: Final = 1e-3
"""By which directions and sizes of pixels of one series may differ."""
_UNEVEN: Final = 0.1
"""Voxels by which a slice may lie beside its place."""

_SERIES, _INSTANCE, _DESCRIPTION = "0020|000e", "0008|0018", "0008|103e"
_POSITION, _ORIENTATION = "0020|0032", "0020|0037"
_FRAMES, _SAMPLES, _KIND = "0028|0008", "0028|0002", "0008|0008"
_BETWEEN, _THICKNESS = "0018|0088", "0018|0050"


@dataclass(frozen=True, eq=False)
class _Slice:
    """One file of a series.

    Attributes
    ----------
    path : Path
        The file.
    reader : SimpleITK.ImageFileReader
        That has read its header.
    position : ndarray, (3,)
        Of its first pixel, mm, LPS+.
    axes : ndarray, (3, 2)
        From a pixel to the next, along rows and down columns, mm, LPS+.
    """

    path: Path
    reader: Any
    position: Float
    axes: Float

    def tag(self, name: str) -> str:
        """A field of the header as text; empty where it has none."""
        return _tag(self.reader, name)

    @property
    def normal(self) -> Float:
        """Unit vector across the slice."""
        across = np.cross(self.axes[:, 0], self.axes[:, 1])
        return np.asarray(across / np.linalg.norm(across))


def series_layout(path: Path) -> Layout:
    """What a series is, its voxels unread.

    Raises
    ------
    BadImage
        As `read_series`.
    """
    return _layout(_ordered(_series(path), path), path)


def read_series(path: Path, check: Callable[[Layout], None]) -> ItkImage:
    """Read the DICOM series that a folder holds, or that a file is one slice of.

    Slices are ordered by their position across the series, whatever the files are called.

    Parameters
    ----------
    path : Path
        A folder of one series, or a file; the others of its series lie beside it.
    check : callable
        Is asked before the voxels are read, and refuses what is too large.

    Raises
    ------
    BadImage
        If SimpleITK is not installed; if there is no series or several; if slices are missing, lie in several
        directions or on one another, or hold anything but grey values.
    """
    slices = _ordered(_series(path), path)
    layout = _layout(slices, path)
    check(layout)
    planes = [_plane(one) for one in slices]
    array = np.stack(planes, axis=2)[..., None]
    return ItkImage(layout, array, digest_of([one.path for one in slices]))


def _plane(one: _Slice) -> npt.NDArray[Any]:
    import SimpleITK as sitk

    values = sitk.GetArrayFromImage(executed(one.reader, one.path))
    return np.asarray(values.reshape(values.shape[-2:]).T)


def _series(path: Path) -> list[_Slice]:
    """The slices of the series that is meant, in any order."""
    folder = path if path.is_dir() else path.parent
    try:
        files = dicom_files_in(folder)
    except OSError as err:
        raise BadImage(f"{shown_name(path)} cannot be read, {err.strerror}: choose another folder.") from err
    sitk = simpleitk(shown_name(path))
    series: dict[str, list[_Slice]] = {}
    for file in files:
        one = _read_header(sitk, file)
        series.setdefault(one.tag(_SERIES), []).append(one)
    if path.is_dir():
        return _only(series, path)
    return next(slices for slices in series.values() if any(one.path.name == path.name for one in slices))


def _only(series: dict[str, list[_Slice]], folder: Path) -> list[_Slice]:
    if not series:
        raise BadImage(f"{shown_name(folder)} is a folder without images: choose an image file, or another folder.")
    if len(series) > 1:
        shown = [f"{one[0].tag(_DESCRIPTION) or 'without a name'}, {len(one)} files" for one in series.values()]
        raise BadImage(
            f"{shown_name(folder)} holds {len(series)} DICOM series ({'; '.join(shown[:_SHOWN])}): "
            "put each into a folder of its own, or give one file of the series that is meant."
        )
    return next(iter(series.values()))


def _read_header(sitk: Any, path: Path) -> _Slice:
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as err:
        raise BadImage(f"{shown_name(path)} is a damaged DICOM file ({last_line(err)}): copy it again.") from err
    frames = _tag(reader, _FRAMES)
    if (frames and frames != "1") or "MOSAIC" in _tag(reader, _KIND):
        raise BadImage(
            f"{shown_name(path)} holds many slices in one DICOM file, which is not read here: "
            "convert it to NIfTI (dcm2niix)."
        )
    if _tag(reader, _SAMPLES) not in ("", "1"):
        raise BadImage(f"{shown_name(path)} holds colours: give the series of grey values.")
    position, directions = _numbers(reader, _POSITION), _numbers(reader, _ORIENTATION)
    if len(position) != 3 or len(directions) != 6:
        raise BadImage(
            f"{shown_name(path)} does not state where its slice lies: it is no image of a scan, take it away."
        )
    axes = directions.reshape(2, 3).T * np.array(reader.GetSpacing()[:2])
    return _Slice(path, reader, position, axes)


def _tag(reader: Any, name: str) -> str:
    text = str(reader.GetMetaData(name)) if reader.HasMetaDataKey(name) else ""
    return "".join(c if c.isprintable() else "?" for c in text).strip()


def _numbers(reader: Any, name: str) -> Float:
    try:
        return np.array([float(word) for word in _tag(reader, name).split("\\") if word])
    except ValueError:
        return np.empty(0)


def _ordered(slices: Sequence[_Slice], path: Path) -> list[_Slice]:
    """The slices by their position across the series, each once.

    Raises
    ------
    BadImage
        If they are no stack.
    """
    first, *others = {one.tag(_INSTANCE) or one.path.name: one for one in slices}.values()
    name = shown_name(path)
    for one in others:
        if np.abs(one.axes - first.axes).max() > _SAME or one.reader.GetSize() != first.reader.GetSize():
            raise BadImage(
                f"{name} is a DICOM series whose slices have several directions or sizes ({shown_name(first.path)}, "
                f"{shown_name(one.path)}), as a localizer's: give the series of one volume."
            )
    stack = sorted((first, *others), key=lambda one: float(one.position @ first.normal))
    _check_steps(stack, name)
    return stack


def _check_steps(stack: Sequence[_Slice], name: str) -> None:
    """Refuse slices that lie on one another, that are missing, or beside their place."""
    if len(stack) < 2:
        return
    normal = stack[0].normal
    heights = np.array([one.position @ normal for one in stack])
    steps = np.diff(heights)
    usual = float(np.median(steps))
    if usual <= _SAME or (steps <= _SAME).any():
        lower = next(k for k, step in enumerate(steps) if step <= max(_SAME, usual / 1e6))
        raise BadImage(
            f"{name} is a DICOM series with several images of one place ({shown_name(stack[lower].path)}, "
            f"{shown_name(stack[lower + 1].path)}), such as echoes or times: give those of one."
        )
    for (below, above), step in zip(pairwise(stack), steps, strict=True):
        if step > 1.5 * usual:
            raise BadImage(
                f"{name} is a DICOM series of which {round(step / usual) - 1} slices are missing: between "
                f"{shown_name(below.path)} and {shown_name(above.path)} are {step:.1f} mm, elsewhere {usual:.1f} mm: "
                "copy the whole series."
            )
    line = stack[0].position + np.arange(len(stack))[:, None] * _step(stack)
    off = np.abs(np.array([one.position for one in stack]) - line).max()
    if off > _UNEVEN * min(usual, *np.linalg.norm(stack[0].axes, axis=0)):
        raise BadImage(
            f"{name} is a DICOM series whose slices lie unevenly, up to {off:.1f} mm beside their place: "
            "convert it to NIfTI with a tool that resamples it (dcm2niix)."
        )


def _step(stack: Sequence[_Slice]) -> Float:
    """From a slice to the next, mm, LPS+."""
    if len(stack) > 1:
        return np.asarray((stack[-1].position - stack[0].position) / (len(stack) - 1))
    only = stack[0]
    sizes = [*_numbers(only.reader, _BETWEEN), *_numbers(only.reader, _THICKNESS), 1.0]
    return np.asarray(only.normal * next(size for size in sizes if size > 0))


def _layout(stack: Sequence[_Slice], path: Path) -> Layout:
    def bad(what: str) -> BadImage:
        return BadImage(f"{shown_name(path)} {what}.")

    first = stack[0]
    affine = np.eye(4)
    affine[:3, :2], affine[:3, 2], affine[:3, 3] = first.axes, _step(stack), first.position
    rows_and_columns = [int(n) for n in first.reader.GetSize()[:2]]
    return Layout(
        header=None,
        shape=checked_shape([*rows_and_columns, len(stack)], bad),
        dtype=np.dtype("f8"),
        offset=0,
        is_single=True,
        slope=1.0,
        inter=0.0,
        affine=checked_affine(TO_RAS @ affine, bad),
        notes=(f"a DICOM series of {len(stack)} slices, in the order of their positions",),
        tail_bytes=0,
    )
