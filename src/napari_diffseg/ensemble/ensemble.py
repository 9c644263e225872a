"""The ensemble: running votes per voxel, members kept as bits, growing by adding members."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_diffseg.ensemble.expected import ExpectedMask
from napari_diffseg.ensemble.smoothing import NO_SMOOTHING, Smoothing
from napari_diffseg.ensemble.summary import MAJORITY, mean_of, variance_of
from napari_diffseg.ensemble.whole_members import WholeMembers
from napari_diffseg.errors import BadRequest
from napari_diffseg.events import Found, Refined, Sampled, Started

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from napari_diffseg.ensemble.smoothing import Votes
    from napari_diffseg.events import SamplingEvent

Float = npt.NDArray[np.float32]
Bool = npt.NDArray[np.bool_]


@dataclass(eq=False)
class Ensemble:
    """Binary members of one run and their statistics, on the source's voxels.

    All volumes given out are (labels, X, Y, Z) in the source's own voxel order; all slabs are (labels, S, U, V) with S
    along the slice axis and U, V the source's other two axes in their order. A slice that was asked for but holds no
    brain is zero in every member; a slice that was not asked for is zero everywhere.

    The members are binary, so mean and variance are functions of integer votes, and exact: they do not depend on the
    order in which members come, and K whole volumes of floats are never held. One member of a
    240 x 240 x 155 volume is 1.1 MB.

    Parameters
    ----------
    labels : sequence of str
        Names of the mask channels.
    source_shape : (X, Y, Z)
        Shape of the source volume in voxels.
    slice_axis : int
        The source axis along which slices are counted.
    slices : sequence of int
        Source slice indices that the run covers, increasing.
    sampled : sequence of int
        Those of them that are sampled; the others are zero.
    smoothing : Smoothing
        How the vote map is smoothed for the probability; may be set anew at any time.
    expected : ExpectedMask, optional
        The one-step estimate, for the probability; may be added to at any time.

    References
    ----------
    Wolleb et al. 2022, arXiv:2112.03145: members binarised, the mean and the unbiased variance taken of the masks.
    """

    labels: Sequence[str]
    source_shape: tuple[int, int, int]
    slice_axis: int
    slices: Sequence[int]
    sampled: Sequence[int]
    smoothing: Smoothing = NO_SMOOTHING
    expected: ExpectedMask | None = None
    _row: dict[int, int] = field(init=False, repr=False)
    _plane: tuple[int, int] = field(init=False, repr=False)
    _votes: npt.NDArray[np.uint16] = field(init=False, repr=False)
    _bits: dict[int, npt.NDArray[np.uint8]] = field(init=False, default_factory=dict, repr=False)
    _done: dict[int, Bool] = field(init=False, default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self._row = {s: i for i, s in enumerate(self.slices)}
        u, v = (n for axis, n in enumerate(self.source_shape) if axis != self.slice_axis)
        self._plane = (u, v)
        self._votes = np.zeros((len(self.labels), len(self.slices), u, v), np.uint16)

    @classmethod
    def for_run(cls, started: Started) -> Ensemble:
        """An empty ensemble for the run that `started` announces, its probability smoothed as its checkpoint says."""
        s = started
        return cls(s.labels, s.source_shape, s.slice_axis, s.slices, s.sampled, Smoothing.of_run(s), ExpectedMask(s))

    @classmethod
    def from_events(cls, events: Iterable[SamplingEvent]) -> Ensemble:
        """The ensemble of a run's events, taken to their end.

        Parameters
        ----------
        events : iterable of SamplingEvent
            As `LocalSegmenter.segment` yields them, `Started` first.

        Raises
        ------
        DiffsegError
            Whatever stops the run.
        BadRequest
            If nothing announces a run before its first result.
        """
        ensemble: Ensemble | None = None
        for event in events:
            if isinstance(event, Started):
                ensemble = cls.for_run(event)
            elif isinstance(event, Found):
                if ensemble is None:
                    raise BadRequest("These events have no beginning: take them all, from the first one.")
                ensemble.take(event)
        if ensemble is None:
            raise BadRequest("There are no events: nothing was sampled.")
        return ensemble

    def add(self, member: int, slices: Sequence[int], mask: Bool) -> None:
        """Add a member on some slices; slices that it has already are left as they are.

        Parameters
        ----------
        member : int
            The member's number, from 0.
        slices : sequence of int
            Source slice indices, all of the run's.
        mask : ndarray, (labels, len(slices), U, V), bool
            The member there.
        """
        done = self._done.setdefault(member, self._empty_rows())
        bits = self._bits.setdefault(member, np.zeros((*self._votes.shape[:2], self._packed_length()), np.uint8))
        for i, s in enumerate(slices):
            row = self._row[s]
            if done[row]:
                continue
            flat = np.ascontiguousarray(mask[:, i], dtype=np.bool_).reshape(len(self.labels), -1)
            bits[:, row] = np.packbits(flat, axis=-1)
            self._votes[:, row] += flat.reshape(-1, *self._plane)
            done[row] = True

    def take(self, event: Found) -> None:
        """Take in what a run has found, whichever it is."""
        if isinstance(event, Sampled):
            self.add(event.member, event.slices, event.mask)
        elif isinstance(event, Refined):
            self.refine(event.slices, event.probability)
        else:
            self.expect(event.slices, event.probability)

    def expect(self, slices: Sequence[int], probability: Float) -> None:
        """Take in the one-step estimate on some slices; what is there already stays.

        Once a member is whole nothing more is taken in: what comes then is of members that were added to a run whose
        one-step estimate is not known.

        Parameters
        ----------
        slices : sequence of int
            Source slice indices, all of the run's.
        probability : ndarray, (labels, len(slices), U, V), float32
            P(lesion), in [0, 1].
        """
        assert self.expected is not None  # for_run makes it
        if not self.members:
            self.expected.add(slices, probability)

    def refine(self, slices: Sequence[int], probability: Float) -> None:
        """Take in the refined one-step estimate on some slices; as `expect` does."""
        assert self.expected is not None  # for_run makes it
        if not self.members:
            self.expected.refine(slices, probability)

    def _empty_rows(self) -> Bool:
        """Rows (S,) that need no sampling: without brain, zero in every member."""
        sampled = set(self.sampled)
        return np.array([s not in sampled for s in self.slices], np.bool_)

    def _packed_length(self) -> int:
        return (self._plane[0] * self._plane[1] + 7) // 8

    @property
    def members(self) -> tuple[int, ...]:
        """Numbers of the members that are final on all slices, increasing."""
        return tuple(sorted(k for k, done in self._done.items() if done.all()))

    @property
    def begun(self) -> tuple[int, ...]:
        """Numbers of the members that are there on one slice at least, increasing."""
        return tuple(sorted(self._done))

    @property
    def count(self) -> int:
        """How many members are final on all slices."""
        return len(self.members)

    def is_complete(self, member: int) -> bool:
        """Whether the member is final on all slices."""
        return member in self._done and bool(self._done[member].all())

    def whole(self) -> Ensemble:
        """The ensemble of those members alone that are final on all slices, and what it expects if that is."""
        whole = replace(self, expected=self._expected_everywhere())
        for k in self.members:
            whole.add(k, self.slices, self._unpacked(k))
        return whole

    def whole_members(self, *, first: int | None = None) -> WholeMembers:
        """The members that are final on all slices now, for a long reading; what comes later does not reach it.

        Parameters
        ----------
        first : int, optional
            Only those among so many members with the lowest numbers, as in `votes_slice`. All by default.
        """
        bits = {k: self._bits[k] for k in self.begun[:first] if self.is_complete(k)}
        expected = self._expected_everywhere()
        return WholeMembers(self.source_shape, self.slice_axis, tuple(self.slices), bits, expected)

    def _expected_everywhere(self) -> ExpectedMask | None:
        """What the run expects, once nothing more comes of it."""
        return self.expected if self.expected is not None and self.expected.is_final else None

    def counts(self) -> npt.NDArray[np.int64]:
        """Members that are final on each slice, (S,); on a slice without brain, all that have begun."""
        if not self._done:
            return np.zeros(len(self.slices), np.int64)
        counts: npt.NDArray[np.int64] = np.sum(list(self._done.values()), axis=0, dtype=np.int64)
        return counts

    def member(self, member: int) -> Bool:
        """One member as a volume (labels, X, Y, Z); slices it has not reached are zero.

        Raises
        ------
        KeyError
            If the ensemble has no such member.
        """
        return self._volume(self._unpacked(member), np.bool_)

    def mean(self) -> Float:
        """Mean of the binary members, (labels, X, Y, Z), 0 where there is none yet."""
        return self._volume(self._by_slice(mean_of), np.float32)

    def variance(self) -> Float:
        """Unbiased variance of the binary members, (labels, X, Y, Z), the uncertainty map of the paper.

        It is NaN on slices with fewer than two members, where no variance exists; its largest value is 0.5 (two
        members that disagree) and it tends to 0.25 with many.
        """
        slab = self._by_slice(variance_of)
        slab[:, self.counts() < 2] = np.nan
        return self._volume(slab, np.float32)

    def probability(self) -> Float:
        """The smoothed probability, (labels, X, Y, Z), 0 where there is no member yet; the mean without smoothing."""
        slab = np.stack([self.probability_slice(s)[0] for s in self.slices], axis=1)
        return self._volume(slab, np.float32)

    def consensus(self, *, threshold: float = MAJORITY) -> npt.NDArray[np.uint8]:
        """Voxels whose mean exceeds the threshold, (labels, X, Y, Z), uint8; 0.5 is the strict majority."""
        return self._volume(self._by_slice(mean_of) > threshold, np.uint8)

    def votes_slice(self, slice_index: int, *, first: int | None = None) -> tuple[npt.NDArray[np.uint16], int]:
        """Votes on one source slice, and how many members voted there.

        Parameters
        ----------
        slice_index : int
            Source index of the slice.
        first : int, optional
            Ask only so many members, those with the lowest numbers, and leave the others out as if they were not
            there. All by default.

        Returns
        -------
        votes : ndarray, (labels, U, V), uint16
            Members that hold each voxel.
        count : int
            Members that are final on the slice.
        """
        row = self._row[slice_index]
        asked = self.begun[:first]
        voted = [k for k in asked if self._done[k][row]]
        if len(asked) == len(self._done):
            return self._votes[:, row], len(voted)
        votes = np.zeros_like(self._votes[:, row])
        n = self._plane[0] * self._plane[1]
        for k in voted:
            votes += np.unpackbits(self._bits[k][:, row], axis=-1, count=n).reshape(votes.shape)
        return votes, len(voted)

    def probability_slice(self, slice_index: int, *, first: int | None = None) -> tuple[Float, int]:
        """The smoothed probability on one source slice, (labels, U, V), and how many members voted there.

        Parameters
        ----------
        slice_index, first :
            As of `votes_slice`.
        """
        votes, count = self.votes_slice(slice_index, first=first)
        if self.smoothing.is_none:
            return mean_of(votes, count), count
        asked = {n: self.votes_slice(n, first=first) for n in sorted(self.within_reach([slice_index]))}
        voted = {
            n: self.smoothing.share_of(*on_slice, n, self.expected) for n, on_slice in asked.items() if on_slice[1]
        }
        offsets = [n - slice_index for n in voted]
        return self.smoothing.on_slice(votes, count, list(voted.values()), offsets), count

    def within_reach(self, slices: Iterable[int]) -> set[int]:
        """Those of the run's slices whose averages the votes on some slices have a part in."""
        reach = self.smoothing.reach
        return {n for s in slices for n in range(s - reach, s + reach + 1) if n in self._row}

    def member_slice(self, member: int, slice_index: int) -> Bool:
        """One member on one source slice, (labels, U, V); zero while it has not reached it.

        Raises
        ------
        KeyError
            If the ensemble has no such member, or the run does not cover the slice.
        """
        bits = self._bits[member][:, self._row[slice_index]]
        n = self._plane[0] * self._plane[1]
        return np.unpackbits(bits, axis=-1, count=n).view(np.bool_).reshape(-1, *self._plane)

    def seen_from_above(self, *, by: int = 1) -> Bool:
        """Where at least `by` members, one or more, mark the same voxel on any slice with any label, (U, V)."""
        return np.asarray((self._votes >= by).any(axis=(0, 1)))

    def _unpacked(self, member: int) -> Bool:
        n = self._plane[0] * self._plane[1]
        flat = np.unpackbits(self._bits[member], axis=-1, count=n)
        return flat.astype(np.bool_).reshape(self._votes.shape)

    def _by_slice(self, of: Callable[[Votes, int], Float]) -> Float:
        """What a function makes of the votes on each slice, (labels, S, U, V)."""
        return np.stack([of(*self.votes_slice(s)) for s in self.slices], axis=1)

    def _volume(self, slab: npt.NDArray[Any], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        out = np.zeros((slab.shape[0], *self.source_shape), dtype)
        view = np.moveaxis(out, self.slice_axis + 1, 1)
        view[:, list(self.slices)] = slab
        return out
