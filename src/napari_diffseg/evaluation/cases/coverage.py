"""Which slices a run covered: elsewhere nothing was predicted, and nothing is measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_diffseg.errors import BadCase
from napari_diffseg.runs.layout import RECORD

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from napari_diffseg.runs.record import RunRecord


@dataclass(frozen=True, slots=True)
class Coverage:
    """Slices along a source axis, their indices in increasing order, and what a reader should know about them."""

    axis: int
    slices: tuple[int, ...]
    notes: tuple[str, ...] = ()


def coverage_of_run(record: RunRecord | None, shape: Sequence[int]) -> Coverage:
    """What a run's record says of the grid beside it; all slices along the last axis where it does not."""
    if (stated := _stated(record, shape)) is not None:
        return stated
    note = f"no {RECORD} of this grid: slices are counted along the last axis, all of them"
    return Coverage(2, tuple(range(shape[2])), (note,))


def coverage_of_masks(
    record: RunRecord | None, shape: Sequence[int], *, seen: npt.NDArray[np.bool_], case_id: str
) -> Coverage:
    """The same of a mask that may have been brought to another grid than that of the run.

    Parameters
    ----------
    record : RunRecord or None
        Of the run; None for a mask of any other origin.
    shape : sequence of int, (3,)
        Of the mask.
    seen : ndarray, (X, Y, Z), bool
        Where mask or maps are above 0.
    case_id : str
        For messages.

    Raises
    ------
    BadCase
        If a part of the slices was covered, and the mask lies on another grid.
    """
    stated = _stated(record, shape)
    if record is None or record.request.get("slices", "") is None:
        axis = 2 if stated is None else stated.axis
        return Coverage(axis, tuple(range(shape[axis])))
    outside = np.ones(shape, np.bool_)
    if stated is not None:
        np.moveaxis(outside, stated.axis, 0)[list(stated.slices)] = False
    if stated is None or (seen & outside).any():
        raise BadCase(
            f"Case {case_id}: its run covered a part of the slices, and its mask lies on another grid, where they "
            "cannot be told: export it on the source's voxels, or segment all slices."
        )
    return stated


def _stated(record: RunRecord | None, shape: Sequence[int]) -> Coverage | None:
    """As the record states it, if it can be true of an array of this shape."""
    if record is None or record.slices[-1] >= shape[record.slice_axis]:
        return None
    count = shape[record.slice_axis]
    note = f"the run covered {len(record.slices)} of {count} slices: only they are measured"
    return Coverage(record.slice_axis, record.slices, (note,) if len(record.slices) < count else ())
