"""One slice of an image as a person looks at it: upright, with the patient's directions at its edges."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from napari_diffseg.appearance import AXIS_LABELS
from napari_diffseg.plugin.grid.frame import Frame

if TYPE_CHECKING:
    import numpy.typing as npt

    from napari_diffseg.imaging.volume import Volume

_OPPOSITE: Final = {"I": "S", "P": "A", "L": "R"}
_PAIRS: Final = ("SI", "AP", "LR")


@dataclass(frozen=True, eq=False)
class UprightSlice:
    """A slice, rows from top to bottom and columns from left to right, and what lies at its edges.

    Attributes
    ----------
    plane : ndarray, (R, C)
        Values of the image.
    left, right, top, bottom : str
        Of L R A P S I.
    pixel_mm : (float, float)
        Height and width of a pixel.
    """

    plane: npt.NDArray[Any]
    left: str
    right: str
    top: str
    bottom: str
    pixel_mm: tuple[float, float]


def upright_middle(volume: Volume, direction: str, *, left_on_the_right: bool = True) -> UprightSlice:
    """The middle slice of an image across a direction.

    Parameters
    ----------
    volume : Volume
        The image; of an oblique one the nearest axes are taken.
    direction : str
        One of L R A P S I: the slices follow each other along it, or against it.
    left_on_the_right : bool
        Whether the patient's left is on the right of the picture, as radiologists look.
    """
    frame = Frame.of_volume(volume)
    across = next(n for n, pair in enumerate(_PAIRS) if direction in pair)
    shown = frame.to_display(volume.data)
    plane = np.asarray(shown.take(shown.shape[across] // 2, axis=across))
    rows, columns = (n for n in range(3) if n != across)
    down, to_right = AXIS_LABELS[rows], AXIS_LABELS[columns]
    left, right = _OPPOSITE[to_right], to_right
    if to_right == "L" and not left_on_the_right:
        plane, left, right = plane[:, ::-1], right, left
    spacing = [volume.spacing_mm[axis] for axis in frame.axes]
    return UprightSlice(plane, left, right, _OPPOSITE[down], down, (spacing[rows], spacing[columns]))
