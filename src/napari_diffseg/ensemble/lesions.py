"""The lesions of an ensemble: how many members see each, how large it is, and how much they differ on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from napari_diffseg.ensemble.volumes import MM3_PER_ML, spread_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_diffseg.ensemble.whole_members import WholeMembers

Int = npt.NDArray[np.integer[Any]]
Box = tuple[slice, slice, slice]

_LEAST_VOXELS: Final = 3
_LEAST_MM: Final = 3.0
_ROUNDING: Final = 1e-9
NEIGHBOURS_26: Final = np.ones((3, 3, 3), np.bool_)
"""Voxels that touch by a face, an edge or a corner."""


@dataclass(frozen=True, slots=True)
class Lesion:
    """A connected part of what any member marks; voxels that touch by a face, an edge or a corner are connected.

    Attributes
    ----------
    holders : int
        Members that mark a voxel of it.
    asked : int
        Members there are.
    volume_ml : float
        Mean volume, in ml, among its holders: how large it is if it is there.
    interval_ml : (float, float)
        Where the holders' volumes lie, as in `Volumes`: the middle 95 %, or, of few, the smallest and the largest.
    differ_ml : float
        Mean volume, in ml, that one of two members marks here and the other does not, over all pairs; 0 with one
        member.
    voxel : (int, int, int)
        The source voxel to look at: of those with most votes, the one nearest to the centre of the votes.
    """

    holders: int
    asked: int
    volume_ml: float
    interval_ml: tuple[float, float]
    differ_ml: float
    voxel: tuple[int, int, int]

    @property
    def probability(self) -> float:
        """Share of the members that mark a voxel of it."""
        return self.holders / self.asked


def default_smallest_ml(voxel_mm3: float) -> float:
    """The volume from which a connected component is listed as a lesion, where nobody says otherwise.

    A sphere 3 mm across, the least extent of a lesion in the MAGNIMS criteria for multiple sclerosis, or 3 voxels
    across if that is more: what is smaller has hardly a voxel that is not at its border.

    References
    ----------
    Filippi et al. 2016, doi:10.1016/S1474-4422(15)00393-2: lesions of at least 3 mm in their longest axis.
    """
    return float(np.pi / 6 * max(_LEAST_MM**3, _LEAST_VOXELS**3 * voxel_mm3)) / MM3_PER_ML


def listed(lesions: Sequence[Lesion], smallest_ml: float) -> tuple[Lesion, ...]:
    """The lesions that are not smaller than that, by their volume among their holders, in their order."""
    return tuple(lesion for lesion in lesions if lesion.volume_ml >= smallest_ml * (1 - _ROUNDING))


def describe_smallest(lesions: Sequence[Lesion], smallest_ml: float) -> str:
    """What a list without the smaller ones leaves out, as a sentence; nothing where nothing can be left out."""
    if smallest_ml <= 0:
        return ""
    left_out = len(lesions) - len(listed(lesions, smallest_ml))
    if not left_out:
        return f"None is smaller than {smallest_ml:.3g} ml."
    return f"{left_out} smaller than {smallest_ml:.3g} ml {'is' if left_out == 1 else 'are'} not listed."


def find_lesions(members: WholeMembers, votes: Int, *, voxel_mm3: float) -> tuple[Lesion, ...]:
    """The lesions of the union of all members, those first on which the members differ by the largest volume.

    Parameters
    ----------
    members : WholeMembers
        All labels together count as lesion.
    votes : ndarray, (X, Y, Z), int
        Members that mark each voxel.
    voxel_mm3 : float
        Volume of one voxel of the source in mm3.

    Returns
    -------
    tuple of Lesion
        None where no member marks anything.
    """
    from scipy import ndimage

    numbers = members.members
    if not votes.any():
        return ()
    box = _box_of(votes > 0)
    inside = votes[box]
    parts, count = ndimage.label(inside > 0, structure=NEIGHBOURS_26)
    ml = voxel_mm3 / MM3_PER_ML
    volumes = ml * np.array([np.bincount(parts[members.lesion(k)[box]], minlength=count + 1)[1:] for k in numbers])
    differ = ml * _pairs_that_differ(parts, inside, len(numbers), count)
    lesions = []
    for n, where in enumerate(ndimage.find_objects(parts)):
        x, y, z = _spot(np.where(parts[where] == n + 1, inside[where], 0))
        a, b, c = (i + int(part.start) + int(whole.start) for i, part, whole in zip((x, y, z), where, box, strict=True))
        lesions.append(_lesion(volumes[:, n], float(differ[n]), (a, b, c)))
    return tuple(sorted(lesions, key=lambda lesion: (-lesion.differ_ml, -lesion.volume_ml, lesion.voxel)))


def lesions_of_mask(mask: npt.NDArray[np.bool_], members: WholeMembers, *, voxel_mm3: float) -> tuple[Lesion, ...]:
    """The connected parts of one mask, the largest first.

    Parameters
    ----------
    mask : ndarray, (X, Y, Z), bool
        Such as one that was corrected by hand.
    members : WholeMembers
        All labels together count as lesion.
    voxel_mm3 : float
        Volume of one voxel of the source in mm3.

    Returns
    -------
    tuple of Lesion
        `volume_ml` is the part's own, and so are both ends of the interval: there is one mask; nothing differs.
    """
    from scipy import ndimage

    if not mask.any():
        return ()
    box = _box_of(mask)
    parts, count = ndimage.label(mask[box], structure=NEIGHBOURS_26)
    sizes = np.bincount(parts.ravel(), minlength=count + 1)[1:] * (voxel_mm3 / MM3_PER_ML)
    numbers = members.members
    touched = [np.unique(parts[members.lesion(k)[box]]) for k in numbers]
    holders = np.bincount(np.concatenate([*touched, np.zeros(0, parts.dtype)]), minlength=count + 1)[1:]
    lesions = []
    for n, where in enumerate(ndimage.find_objects(parts)):
        spot = _spot((parts[where] == n + 1).astype(np.int64))
        x, y, z = (i + int(p.start) + int(w.start) for i, p, w in zip(spot, where, box, strict=True))
        ml = float(sizes[n])
        lesions.append(Lesion(int(holders[n]), len(numbers), ml, (ml, ml), 0.0, (x, y, z)))
    return tuple(sorted(lesions, key=lambda lesion: (-lesion.volume_ml, lesion.voxel)))


def _lesion(volumes: npt.NDArray[np.float64], differ_ml: float, voxel: tuple[int, int, int]) -> Lesion:
    held = volumes[volumes > 0]
    mean, interval = spread_of(held)
    return Lesion(held.size, volumes.size, mean, interval, differ_ml, voxel)


def _pairs_that_differ(parts: Int, votes: Int, members: int, count: int) -> npt.NDArray[np.float64]:
    """Mean number of voxels on which two members differ, for each part: of n (n - 1) / 2 pairs, v (n - v) do."""
    if members < 2:
        return np.zeros(count)
    share = 2.0 * votes * (members - votes) / (members * (members - 1))
    return np.asarray(np.bincount(parts.ravel(), share.ravel(), minlength=count + 1)[1:], np.float64)


def _spot(votes: Int) -> tuple[int, int, int]:
    """Of the places with most votes, the one nearest to the centre of all votes."""
    places = np.argwhere(votes > 0)
    centre = np.average(places, axis=0, weights=votes[tuple(places.T)])
    best = np.argwhere(votes == votes.max())
    x, y, z = best[((best - centre) ** 2).sum(axis=1).argmin()]
    return int(x), int(y), int(z)


def _box_of(mask: npt.NDArray[np.bool_]) -> Box:
    """The smallest box around a mask that is not empty."""
    x, y, z = (np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis))) for axis in range(3))
    return slice(x[0], x[-1] + 1), slice(y[0], y[-1] + 1), slice(z[0], z[-1] + 1)
