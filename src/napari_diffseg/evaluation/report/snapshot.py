"""One telling slice of a case, small enough to keep for every case until the best and the worst are known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_diffseg.evaluation.report.upright import Upright, frame_of, unit_intensity

if TYPE_CHECKING:
    from napari_diffseg.evaluation.cases.predicted import Predicted
    from napari_diffseg.imaging.volume import Volume

Bool = npt.NDArray[np.bool_]
Float = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A slice to be shown; all arrays are (rows, columns), turned as `Upright` says.

    Attributes
    ----------
    case : str
        The case's name.
    dice : float
        Of the whole case.
    index : int
        The slice, in the source's own count.
    background : ndarray, float32
        The image in [0, 1]; the mean of the members where no image was given.
    mask, truth : ndarray, bool
        The consensus, and the majority of the readers.
    uncertainty : ndarray, float32, or None
        Where there is one.
    aspect : float
        Height of a pixel divided by its width.
    sides : (str, str)
        The patient's sides at the left and the right, as `Upright.sides`.
    """

    case: str
    dice: float
    index: int
    background: Float
    mask: Bool
    truth: Bool
    uncertainty: Float | None
    aspect: float
    sides: tuple[str, str]


def take_snapshot(predicted: Predicted, majority: Bool, *, dice: float, image: Volume | None) -> Snapshot:
    """The slice on which mask and truth are largest, the middle one of the run where both are empty.

    It is cut to what there is to see, with a margin of 8 pixels.

    Parameters
    ----------
    predicted : Predicted
        The case.
    majority : ndarray, (X, Y, Z), bool
        The readers'.
    dice : float
        Of the whole case.
    image : Volume or None
        Background, on the same grid.
    """
    axis = predicted.slice_axis
    others = tuple(a for a in range(3) if a != axis)
    area = (predicted.mask | majority).sum(axis=others)[list(predicted.slices)]
    place = int(area.argmax()) if area.any() else len(predicted.slices) // 2
    index = predicted.slices[place]
    upright = Upright(predicted.grid, axis)
    mask, truth = upright(predicted.mask, index), upright(majority, index)
    shown = image.data if image is not None else predicted.mean if predicted.mean is not None else predicted.mask
    background = unit_intensity(upright(shown, index))
    box = frame_of((background > 0) | mask | truth)
    return Snapshot(
        case=predicted.case_id,
        dice=dice,
        index=index,
        background=background[box],
        mask=mask[box],
        truth=truth[box],
        uncertainty=None if predicted.uncertainty is None else upright(predicted.uncertainty, index)[box],
        aspect=upright.aspect,
        sides=upright.sides,
    )
