"""The smoothed probability: the members' vote map and a Gaussian average of its surroundings, as one probability."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from napari_diffseg.ensemble.window import within

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_diffseg.ensemble.expected import ExpectedMask
    from napari_diffseg.events import Started, Window

Float = npt.NDArray[np.float32]
Votes = npt.NDArray[np.integer[Any]]

_WEIGHT: Final = 2
"""Of the surroundings, in members a member."""
_MOST_VOTES: Final = 10
"""Largest weight of the surroundings, in members: the more members there are, the more they decide alone."""
_REACH: Final = 4
"""Standard deviations after which the Gaussian is cut off."""
_DECIMALS: Final = 6
"""Of a probability: where all members and the one-step estimate agree it is 0 or 1, in whatever order it is summed."""
_MARGIN: Final = 1e-3
"""By which the surroundings at least let the members decide where all of them agree."""


@dataclass(frozen=True, slots=True)
class Smoothing:
    """Makes the smoothed probability of an ensemble: Gaussian smoothing of the vote map, joined with the votes.

    With K members the share of votes is off by up to 1 / (2 sqrt K) at a voxel, and neighbouring slices are sampled
    independently; what readers would mark varies slowly. With v of K votes at a voxel, c = min(2 K, 10) and q the
    Gaussian average about it of the one-step estimate (see `ExpectedMask`; refined by brightness where the run does so;
    of checkpoints without one, of the members' mean), the probability is (v + c q) / (K + c): the posterior mean under
    a beta prior of mean q and weight c. Where all members mark a voxel q is raised, and where none does lowered, as far
    as it takes for the probability to be above a half, or below: members that all agree are not overruled. What was not
    asked for (slices, or voxels outside the window or the volume) has no part in an average.

    The members' own mean and variance are not touched by it.

    Attributes
    ----------
    along : float
        Standard deviation along the slice axis, in slices; 0 is none.
    across : tuple of float
        The same along the slices' two axes (U, V), in voxels.
    window : Window or None
        What of each slice was asked for; None is all.
    refined : bool
        Whether the one-step estimate is taken as it was refined by brightness, where it was.
    """

    along: float = 0.0
    across: tuple[float, float] = (0.0, 0.0)
    window: Window | None = None
    refined: bool = True

    @classmethod
    def of_run(cls, started: Started, smoothing_mm: float | None = None, *, refined: bool = True) -> Smoothing:
        """A Gaussian of so many mm on a run's voxels, by default what its checkpoint says; longer across slices."""
        mm = started.smoothing_mm if smoothing_mm is None else smoothing_mm
        along = started.spacing_mm[started.slice_axis]
        u, v = (size for axis, size in enumerate(started.spacing_mm) if axis != started.slice_axis)
        return cls(mm * started.smoothing_slices / along, (mm / u, mm / v), started.window, refined)

    @property
    def is_none(self) -> bool:
        """Whether the probability is the members' mean."""
        return self.along == 0 and self.across == (0.0, 0.0)

    @property
    def reach(self) -> int:
        """How many slices to each side have a part in an average."""
        return int(_REACH * self.along + 0.5)

    def on_slice(self, votes: Votes, count: int, shares: Sequence[Float], offsets: Sequence[int]) -> Float:
        """The smoothed probability on one slice.

        Parameters
        ----------
        votes : ndarray, (labels, U, V), int
            Of the slice.
        count : int
            Members that voted.
        shares : sequence of ndarray, (labels, U, V), float32
            P(lesion) of the slice and of its neighbours, as far as there is one; in [0, 1].
        offsets : sequence of int
            How many slices away each of `shares` is.

        Returns
        -------
        ndarray of float32, (labels, U, V)
            In [0, 1]; 0 while the slice has no member.
        """
        if count == 0:
            return np.zeros(votes.shape, np.float32)
        own, more = votes.astype(np.float32), min(_WEIGHT * count, _MOST_VOTES)
        least, most = (max(more - count, 0) / (2 * more) + _MARGIN, min(more + count, 2 * more) / (2 * more) - _MARGIN)
        around = self._in_plane(self._along(shares, offsets))
        around = np.where(own == count, np.maximum(around, np.float32(least)), around)
        around = np.where(own == 0, np.minimum(around, np.float32(most)), around)
        joint = (own + np.float32(more) * around) / np.float32(count + more)
        return np.asarray(np.round(joint, _DECIMALS), np.float32)

    def on_volume(
        self, votes: Votes, count: int, *, slice_axis: int, slices: Sequence[int], expected: ExpectedMask | None = None
    ) -> Float:
        """The smoothed probability of `count` members in a volume, (labels, X, Y, Z).

        Parameters
        ----------
        votes : ndarray, (labels, X, Y, Z), int
            Of each label, or (1, X, Y, Z) of any of them.
        count : int
            Members that voted.
        slice_axis : int
            The axis along which slices are counted.
        slices : sequence of int
            Slices that the run covers.
        expected : ExpectedMask, optional
            The one-step estimate of the run.

        Returns
        -------
        ndarray of float32, (labels, X, Y, Z)
            In [0, 1], 0 on slices that the run does not cover; the members' mean where there is no smoothing.
        """
        if self.is_none:
            return share_of_votes(votes, count)
        out = np.zeros(votes.shape, np.float32)
        planes, smooth = (np.moveaxis(volume, slice_axis + 1, 0) for volume in (votes, out))
        for s in slices:
            near = [n for n in slices if abs(n - s) <= self.reach]
            shares = [self.share_of(planes[n], count, n, expected) for n in near]
            smooth[s] = self.on_slice(planes[s], count, shares, [n - s for n in near])
        return out

    def share_of(self, votes: Votes, count: int, slice_index: int, expected: ExpectedMask | None) -> Float:
        """P(lesion) on a slice: the one-step estimate, refined where it is, or, where there is none, the members' mean.

        Parameters
        ----------
        votes : ndarray, (labels, U, V), int
            Of each label, or (1, U, V) of any of them.
        count : int
            Members that voted, at least one where there is no one-step estimate.
        slice_index : int
            Source index of the slice.
        expected : ExpectedMask or None
            The one-step estimate; of any of several labels, that of the likeliest.
        """
        known = None if expected is None else expected.share_on_slice(slice_index, refined=self.refined)
        if known is None:
            return np.asarray(votes / np.float32(count), np.float32)
        return known if len(known) == len(votes) else known.max(axis=0, keepdims=True)

    def _along(self, shares: Sequence[Float], offsets: Sequence[int]) -> Float:
        """The Gaussian along the slice axis."""
        average, total = np.zeros(shares[0].shape, np.float32), 0.0
        for share, offset in zip(shares, offsets, strict=True):
            weight = np.exp(-0.5 * (offset / self.along) ** 2) if self.along else float(offset == 0)
            if weight:
                average += np.float32(weight) * share
                total += weight
        return average / np.float32(total)

    def _in_plane(self, share: Float) -> Float:
        """The Gaussian across (labels, U, V), of what lies within the window alone; the others are left at 0."""
        if self.across == (0.0, 0.0):
            return share
        if self.window is None:
            return _blurred(share, self.across)
        out = np.zeros_like(share)
        out[..., *within(self.window)] = _blurred(share[..., *within(self.window)], self.across)
        return out


NO_SMOOTHING: Final = Smoothing()


def share_of_votes(votes: Votes, count: int) -> Float:
    """The members' mean: share of `count` members that mark each voxel, float32, 0 where there is no member."""
    return np.asarray(votes / np.float32(max(count, 1)), np.float32)


def _blurred(share: Float, across: tuple[float, float]) -> Float:
    """A Gaussian of so many voxels over the last two axes, in which what lies beyond their ends has no part."""
    summed: Float = gaussian_filter(share, (0.0, *across), mode="constant", truncate=_REACH)
    for axis, (sd, size) in enumerate(zip(across, share.shape[1:], strict=True), start=1):
        if sd:
            weight = gaussian_filter1d(np.ones(size, np.float32), sd, mode="constant", truncate=_REACH)
            summed /= weight[:, None] if axis == 1 else weight
    return np.clip(summed, 0.0, 1.0)
