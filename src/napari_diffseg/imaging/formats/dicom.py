"""A series of DICOM files as one volume, read by SimpleITK slice by slice; where it lies is worked out here.

SimpleITK's own reader of series straightens a sheared one, and gives one of which slices are missing another spacing.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from napari_diffseg.errors import BadImage
from napari_diffseg.imaging.formats.itk_image import TO_RAS, ItkImage, digest_of, shaped
from napari_diffseg.imaging.formats.itk_process import ItkHeader, ItkProcess
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
_TAGS = (
    _SERIES, _INSTANCE, _DESCRIPTION, _POSITION, _ORIENTATION, _FRAMES, _SAMPLES, _KIND, _BETWEEN, _THICKNESS,
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Slice:
    """One file of a series.

    Attributes
    ----------
    path : Path
        The file.
    header : ItkHeader
        What it says of itself.
    position : ndarray, (3,)
        Of its first pixel, mm, LPS+.
    axes : ndarray, (3, 2)
        From a pixel to the next, along rows and down columns, mm, LPS+.
    """

    path: Path
    header: ItkHeader
    position: Float
    axes: Float

    def tag(self, name: str) -> str:
        """A field of the header as text; empty where it has none."""
        return self.header.tags.get(name, "")

    def numbers(self, name: str) -> Float:
        """A field of numbers; empty where it is none."""
        return _numbers(self.header, name)

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
    with ItkProcess(path) as process:
        return _layout(_ordered(_series(process, path), path), path)


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
    with ItkProcess(path) as process:
        slices = _ordered(_series(process, path), path)
        layout = _layout(slices, path)
        check(layout)
        files = [one.path for one in slices]
        array = shaped(process.values(files), layout, path)
    return ItkImage(layout, array, digest_of(files))


def _series(process: ItkProcess, path: Path) -> list[_Slice]:
    """The slices of the series that is meant, in any order."""
    folder = path if path.is_dir() else path.parent
    try:
        files = dicom_files_in(folder)
    except OSError as err:
        raise BadImage(f"{shown_name(path)} cannot be read, {err.strerror}: choose another folder.") from err
    series: dict[str, list[_Slice]] = {}
    for file, header in zip(files, process.headers(files, tags=_TAGS), strict=True):
        one = _slice(file, header)
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


def _slice(path: Path, header: ItkHeader) -> _Slice:
    said = header.tags
    if said.get(_FRAMES, "1") not in ("", "1") or "MOSAIC" in said.get(_KIND, ""):
        raise BadImage(
            f"{shown_name(path)} holds many slices in one DICOM file, which is not read here: "
            "convert it to NIfTI (dcm2niix)."
        )
    if said.get(_SAMPLES, "1") not in ("", "1"):
        raise BadImage(f"{shown_name(path)} holds colours: give the series of grey values.")
    position, directions = _numbers(header, _POSITION), _numbers(header, _ORIENTATION)
    if len(position) != 3 or len(directions) != 6:
        raise BadImage(
            f"{shown_name(path)} does not state where its slice lies: it is no image of a scan, take it away."
        )
    axes = directions.reshape(2, 3).T * header.spacing[:2]
    return _Slice(path, header, position, axes)


def _numbers(header: ItkHeader, name: str) -> Float:
    try:
        numbers = np.array([float(word) for word in header.tags.get(name, "").split("\\") if word])
    except ValueError:
        return np.empty(0)
    return numbers if np.isfinite(numbers).all() else np.empty(0)


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
        if np.abs(one.axes - first.axes).max() > _SAME or one.header.size != first.header.size:
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
    sizes = [*only.numbers(_BETWEEN), *only.numbers(_THICKNESS), 1.0]
    return np.asarray(only.normal * next(size for size in sizes if size > 0))


def _layout(stack: Sequence[_Slice], path: Path) -> Layout:
    def bad(what: str) -> BadImage:
        return BadImage(f"{shown_name(path)} {what}.")

    first = stack[0]
    affine = np.eye(4)
    affine[:3, :2], affine[:3, 2], affine[:3, 3] = first.axes, _step(stack), first.position
    rows_and_columns = list(first.header.size[:2])
    return Layout(
        header=None,
        shape=checked_shape([*rows_and_columns, len(stack)], bad),
        dtype=np.dtype(f"V{first.header.bytes_a_value}"),
        offset=0,
        is_single=True,
        slope=1.0,
        inter=0.0,
        affine=checked_affine(TO_RAS @ affine, bad),
        notes=(f"a DICOM series of {len(stack)} slices, in the order of their positions",),
        tail_bytes=0,
    )
