"""How the consensus settles as members come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from napari_diffseg.ensemble.dice import dice_of_counts
from napari_diffseg.ensemble.volumes import MM3_PER_ML
from napari_diffseg.errors import BadRequest

if TYPE_CHECKING:
    from napari_diffseg.ensemble.whole_members import WholeMembers

PATIENCE: Final = 3
"""Members in a row that must leave the consensus as it is, before it is called settled."""


@dataclass(frozen=True, slots=True)
class Convergence:
    """The majority of the first 1, 2, 3 ... members, in the order of their numbers; all labels count as lesion.

    Attributes
    ----------
    dice : tuple of float, one fewer than members
        Dice between the majority of the first k members and that of the first k + 1; 1 when both are empty. An even
        number of members makes ties, which are no majority, so it goes up and down by turns.
    volume_ml : tuple of float, one for each member
        Volume of the majority of the first k members.
    """

    dice: tuple[float, ...]
    volume_ml: tuple[float, ...]

    def settled_since(self, tolerance: float) -> int | None:
        """After how many members the majority stayed as it was, to a tolerance, whatever member came.

        Parameters
        ----------
        tolerance : float
            Largest 1 - Dice between two majorities in a row that is called no change.

        Returns
        -------
        int or None
            None unless at least `PATIENCE` members have come since.
        """
        quiet = 0
        for dice in reversed(self.dice):
            if dice < 1 - tolerance:
                break
            quiet += 1
        return len(self.volume_ml) - quiet if quiet >= PATIENCE else None


def follow_votes(members: WholeMembers, *, voxel_mm3: float) -> tuple[npt.NDArray[np.integer[Any]], Convergence]:
    """Count the votes of members one by one, and follow the majority.

    Parameters
    ----------
    members : WholeMembers
        At least one.
    voxel_mm3 : float
        Volume of one voxel of the source in mm3.

    Returns
    -------
    votes : ndarray, (X, Y, Z), int32
        Members that mark each voxel with any label.
    convergence : Convergence

    Raises
    ------
    BadRequest
        If there is no member.
    """
    if not members.members:
        raise BadRequest("No member is finished on all slices: let the run go on, then ask what they agree on.")
    votes = np.zeros(members.source_shape, np.int32)
    before = np.zeros(members.source_shape, np.bool_)
    dices: list[float] = []
    sizes: list[int] = []
    for count, number in enumerate(members.members, start=1):
        votes += members.lesion(number)
        majority = 2 * votes > count
        sizes.append(int(majority.sum()))
        if count > 1:
            both = int((majority & before).sum())
            dices.append(dice_of_counts(both, *sizes[-2:]))
        before = majority
    return votes, Convergence(tuple(dices), tuple(size * voxel_mm3 / MM3_PER_ML for size in sizes))
