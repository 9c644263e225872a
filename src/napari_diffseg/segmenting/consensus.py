"""One mask of many: by votes, or by STAPLE, which asks the members themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from napari_diffseg.extras import check_extra
from napari_diffseg.segmenting.summary import MAJORITY, Rule

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_diffseg.segmenting.smoothing import Votes
    from napari_diffseg.segmenting.summary import Summary

Bool = npt.NDArray[np.bool_]

_MARGIN: Final = 3
"""Voxels around what any member marks that STAPLE sees of the background."""
_MOST_ITERATIONS: Final = 1000
"""It needs about ten; without a bound one that does not settle would never end."""


@dataclass(frozen=True, eq=False)
class Staple:
    """What STAPLE makes of several masks.

    Attributes
    ----------
    probability : ndarray, (X, Y, Z), float32
        Of each voxel, that it belongs to the hidden true mask; 0 outside the box that was looked at.
    sensitivity, specificity : tuple of float
        Of each member against the hidden true mask, in that box.
    """

    probability: npt.NDArray[np.float32]
    sensitivity: tuple[float, ...]
    specificity: tuple[float, ...]

    @property
    def mask(self) -> Bool:
        """Voxels more probable than not, (X, Y, Z)."""
        return np.asarray(self.probability > MAJORITY)


def consensus_of(
    members: Iterable[Bool], *, votes: Votes, count: int, summary: Summary, smoothed: Votes | None = None
) -> Bool:
    """The mask that a rule makes of an ensemble.

    Parameters
    ----------
    members : iterable of ndarray, (labels, X, Y, Z), bool
        Read only where the rule asks for them.
    votes : ndarray, (labels, X, Y, Z), int
        Members that hold each voxel.
    count : int
        How many members there are.
    summary : Summary
        The rule, and the threshold.
    smoothed : ndarray, (labels, X, Y, Z), float32, optional
        The votes after smoothing, for the rules that ask for votes alone; by default `votes`.

    Returns
    -------
    ndarray of bool, (labels, X, Y, Z)

    Raises
    ------
    BadRequest
        If the rule is STAPLE and SimpleITK is not installed.
    """
    if summary.rule is not Rule.STAPLE:
        return summary.consensus(votes if smoothed is None else smoothed, count)
    return np.stack([found.mask for found in staple(members, votes)])


def staple(members: Iterable[Bool], votes: Votes) -> tuple[Staple, ...]:
    """Simultaneous truth and performance level estimation, by SimpleITK, of each label alone.

    What it takes for background decides how specific members seem, and how likely a voxel is to begin with: it sees the
    box around what any member marks, with a margin of three voxels, so that an image with more air around the head has
    no other result. Where all members are alike there is nothing to estimate, and the mask is theirs.

    Parameters
    ----------
    members : iterable of ndarray, (labels, X, Y, Z), bool
        At least one; read once.
    votes : ndarray, (labels, X, Y, Z), int
        Members that hold each voxel.

    Returns
    -------
    tuple of Staple
        One a label.

    Raises
    ------
    BadRequest
        If SimpleITK is not installed.

    References
    ----------
    Warfield, Zou and Wells 2004, IEEE Transactions on Medical Imaging 23(7).
    """
    check_extra("consensus")
    boxes = [_box(of_label > 0) for of_label in votes]
    cropped: list[list[Bool]] = [[] for _ in boxes]
    for member in members:
        for label, box in enumerate(boxes):
            cropped[label].append(member[label][box].copy())
    return tuple(_staple(masks, box, votes.shape[1:]) for masks, box in zip(cropped, boxes, strict=True))


def _box(union: Bool) -> tuple[slice, ...]:
    """Around what is marked, with the margin; of nothing, an empty one."""
    sides = []
    for axis in range(union.ndim):
        marked = np.flatnonzero(union.any(axis=tuple(a for a in range(union.ndim) if a != axis)))
        low, high = (marked[0] - _MARGIN, marked[-1] + 1 + _MARGIN) if len(marked) else (0, 0)
        sides.append(slice(max(int(low), 0), min(int(high), union.shape[axis])))
    return tuple(sides)


def _staple(masks: list[Bool], box: tuple[slice, ...], shape: tuple[int, ...]) -> Staple:
    probability = np.zeros(shape, np.float32)
    if all(np.array_equal(mask, masks[0]) for mask in masks[1:]):
        probability[box] = masks[0]
        ones = (1.0,) * len(masks)
        return Staple(probability, ones, ones)
    import SimpleITK as sitk

    estimate: Any = sitk.STAPLEImageFilter()
    estimate.SetForegroundValue(1.0)
    estimate.SetMaximumIterations(_MOST_ITERATIONS)
    image = estimate.Execute([sitk.GetImageFromArray(mask.view(np.uint8)) for mask in masks])
    probability[box] = sitk.GetArrayFromImage(image)
    return Staple(probability, tuple(estimate.GetSensitivity()), tuple(estimate.GetSpecificity()))
