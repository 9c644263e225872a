"""Everything that is measured of an ensemble when it is looked at, in one go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_diffseg.ensemble.convergence import Convergence, follow_votes
from napari_diffseg.ensemble.lesions import Lesion, default_smallest_ml, find_lesions, lesions_of_mask, listed
from napari_diffseg.ensemble.volumes import MM3_PER_ML, Volumes, measure_volumes

if TYPE_CHECKING:
    from napari_diffseg.ensemble.whole_members import WholeMembers


@dataclass(frozen=True, slots=True)
class Findings:
    """What is measured of whole members.

    Attributes
    ----------
    volumes : Volumes
        Each member's volume, and the members that stand for the ensemble.
    components : tuple of Lesion
        Every connected component, those first on which the members differ most.
    convergence : Convergence
        How the consensus settled.
    uncertain_slices : tuple of int
        Source indices of the slices that are more uncertain than both their neighbours, the most uncertain first.
    smallest_ml : float
        Volume from which a component is listed as a lesion.
    """

    volumes: Volumes
    components: tuple[Lesion, ...]
    convergence: Convergence
    uncertain_slices: tuple[int, ...]
    smallest_ml: float

    @property
    def lesions(self) -> tuple[Lesion, ...]:
        """The components that are not smaller than `smallest_ml`."""
        return listed(self.components, self.smallest_ml)


def measure(members: WholeMembers, *, voxel_mm3: float, smallest_ml: float | None = None) -> Findings:
    """Measure whole members; all labels together count as lesion.

    Parameters
    ----------
    members : WholeMembers
        At least one.
    voxel_mm3 : float
        Volume of one voxel of the source in mm3.
    smallest_ml : float, optional
        Volume from which a connected component is listed as a lesion, `default_smallest_ml` by default; volumes count
        all.

    Raises
    ------
    BadRequest
        If there is no member.
    """
    votes, convergence = follow_votes(members, voxel_mm3=voxel_mm3)
    count = len(members.members)
    others = tuple(axis for axis in range(3) if axis != members.slice_axis)
    disagreement = (votes * (count - votes)).sum(axis=others)
    return Findings(
        volumes=measure_volumes(members, voxel_mm3=voxel_mm3),
        components=find_lesions(members, votes, voxel_mm3=voxel_mm3),
        convergence=convergence,
        uncertain_slices=peaks(disagreement),
        smallest_ml=default_smallest_ml(voxel_mm3) if smallest_ml is None else smallest_ml,
    )


@dataclass(frozen=True, slots=True)
class EditedFindings:
    """What is measured of a mask that was corrected by hand.

    Attributes
    ----------
    volume_ml : float
        Its volume.
    components : tuple of Lesion
        Its connected components, the largest first; how many members mark a voxel of each.
    smallest_ml : float
        Volume from which a component is listed as a lesion.
    """

    volume_ml: float
    components: tuple[Lesion, ...]
    smallest_ml: float

    @property
    def lesions(self) -> tuple[Lesion, ...]:
        """The components that are not smaller than `smallest_ml`."""
        return listed(self.components, self.smallest_ml)


def measure_edited(
    mask: npt.NDArray[np.bool_], members: WholeMembers, *, voxel_mm3: float, smallest_ml: float | None = None
) -> EditedFindings:
    """Measure a corrected mask, (X, Y, Z); all labels together count as lesion.

    Parameters
    ----------
    mask : ndarray, (X, Y, Z), bool
        The correction.
    members : WholeMembers
        Of the run.
    voxel_mm3 : float
        Volume of one voxel of the source in mm3.
    smallest_ml : float, optional
        As of `measure`.
    """
    components = lesions_of_mask(mask, members, voxel_mm3=voxel_mm3)
    smallest = default_smallest_ml(voxel_mm3) if smallest_ml is None else smallest_ml
    return EditedFindings(float(mask.sum()) * voxel_mm3 / MM3_PER_ML, components, smallest)


def peaks(values: npt.NDArray[np.integer[Any]]) -> tuple[int, ...]:
    """Where values are above zero and above both neighbours, the highest first; of a plateau, its first place."""
    starts = np.flatnonzero(np.diff(values, prepend=values[:1] - 1))
    steps = np.concatenate([[0], values[starts], [0]])
    higher = (steps[1:-1] > steps[:-2]) & (steps[1:-1] > steps[2:])
    places = starts[higher]
    return tuple(int(i) for i in places[np.argsort(-values[places], kind="stable")])
