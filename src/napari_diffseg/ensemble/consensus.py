"""One mask of many: by votes, or by STAPLE, which asks the members themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from napari_diffseg.ensemble.lesions import NEIGHBOURS_26
from napari_diffseg.ensemble.summary import MAJORITY, Rule
from napari_diffseg.extras import check_extra
from napari_diffseg.regions import nest

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from napari_diffseg.ensemble.smoothing import Votes
    from napari_diffseg.ensemble.summary import Summary
    from napari_diffseg.regions import Region

Bool = npt.NDArray[np.bool_]
Float = npt.NDArray[np.float32]

_MOST_ITERATIONS: Final = 1000
"""It needs about ten; without a bound one that does not settle would never end."""


@dataclass(frozen=True, eq=False)
class Staple:
    """What STAPLE makes of several masks.

    Attributes
    ----------
    probability : ndarray, (X, Y, Z), float32
        Of each voxel, that it belongs to the hidden true mask; 0 beyond the neighbours of what any member marks.
    sensitivity, specificity : tuple of float
        Of each member against the hidden true mask, on the voxels that any member marks and their neighbours.
    """

    probability: npt.NDArray[np.float32]
    sensitivity: tuple[float, ...]
    specificity: tuple[float, ...]

    @property
    def mask(self) -> Bool:
        """Voxels more probable than not, (X, Y, Z)."""
        return np.asarray(self.probability > MAJORITY)


def consensus_of(
    members: Iterable[Bool],
    *,
    votes: Votes,
    count: int,
    summary: Summary,
    regions: Sequence[Region],
    probability: Float | None = None,
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
    regions : sequence of Region
        What the labels are. Votes and probabilities of nested members are nested, and so are masks of them; STAPLE asks
        of each label alone, so that what it marks in a region is added to those around it.
    probability : ndarray, (labels, X, Y, Z), float32, optional
        The smoothed probability, for the rule that asks for it; by default the members' mean.

    Returns
    -------
    ndarray of bool, (labels, X, Y, Z)

    Raises
    ------
    BadRequest
        If the rule is STAPLE and SimpleITK is not installed.
    """
    if summary.rule is not Rule.STAPLE:
        return summary.consensus(votes, count, probability)
    return nest(np.stack([found.mask for found in staple(members, votes)]), regions)


def staple(members: Iterable[Bool], votes: Votes) -> tuple[Staple, ...]:
    """Simultaneous truth and performance level estimation, by SimpleITK, of each label alone.

    The estimate is of what any member marks and the voxels that touch it by a face, an edge or a corner, wherever those
    lie. More background would make all members look specific, so that it believes whoever marks a voxel: with three
    voxels around, or the box around everything, what two of five members mark becomes certain, and one stray voxel far
    away could turn it on. Where all members are alike there is nothing to estimate, and the mask is theirs.

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
    from scipy import ndimage

    seen: list[Bool] = [ndimage.binary_dilation(of_label > 0, NEIGHBOURS_26) for of_label in votes]
    marked: list[list[Bool]] = [[] for _ in seen]
    for member in members:
        for label, where in enumerate(seen):
            marked[label].append(member[label][where])
    return tuple(_staple(masks, where) for masks, where in zip(marked, seen, strict=True))


def _staple(masks: list[Bool], seen: Bool) -> Staple:
    """STAPLE of the masks' values, (N,), on the N voxels that are seen; where those lie has no part in it."""
    probability = np.zeros(seen.shape, np.float32)
    if all(np.array_equal(mask, masks[0]) for mask in masks[1:]):
        probability[seen] = masks[0]
        ones = (1.0,) * len(masks)
        return Staple(probability, ones, ones)
    import SimpleITK as sitk

    estimate: Any = sitk.STAPLEImageFilter()
    estimate.SetForegroundValue(1.0)
    estimate.SetMaximumIterations(_MOST_ITERATIONS)
    image = estimate.Execute([sitk.GetImageFromArray(mask.view(np.uint8)[None]) for mask in masks])
    probability[seen] = sitk.GetArrayFromImage(image)[0]
    return Staple(probability, tuple(estimate.GetSensitivity()), tuple(estimate.GetSpecificity()))
