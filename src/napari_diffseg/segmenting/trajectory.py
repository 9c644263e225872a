"""Denoising of one slice, member by member and step by step, in bounded memory, and when each pixel was decided."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Iterable

BUDGET_BYTES: Final = 256 * 2**20
"""Memory for the predictions of a trajectory, unless told otherwise."""


@dataclass(frozen=True, slots=True)
class Traced:
    """What one denoising step of a batch of rows predicts, on the source's in-plane voxels, of the first label.

    Attributes
    ----------
    step, steps : int
        The step, from 1, of how many.
    timestep : int
        Of the original chain, that the network was told.
    rows : tuple of (int, int)
        Member and source slice of each of the B rows.
    evidence : ndarray, (B, U, V), float32
        The clean mask that the step predicts (x_0): 0 background, 1 lesion.
    mask : ndarray, (B, U, V), bool
        The same, thresholded.
    """

    step: int
    steps: int
    timestep: int
    rows: tuple[tuple[int, int], ...]
    evidence: npt.NDArray[np.float32]
    mask: npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Trajectory:
    """The predictions of some members of one slice, step by step.

    Attributes
    ----------
    slice_index : int
        The source slice.
    members : tuple of int
        Their numbers, K of them.
    steps : int
        How many steps there were.
    kept : tuple of int
        The steps, from 1, whose predictions are kept: F of them, the last one among them.
    timesteps : tuple of int
        Of the original chain, one for each of the kept steps.
    evidence : ndarray, (F, K, U, V), float16
        The clean mask that each kept step predicts: 0 background, 1 lesion.
    decided : ndarray, (K, U, V), uint16
        The first step from which on the thresholded prediction stays what it is, from 1: worked out from all steps.
    final : ndarray, (K, U, V), bool
        The thresholded prediction of the last step.
    """

    slice_index: int
    members: tuple[int, ...]
    steps: int
    kept: tuple[int, ...]
    timesteps: tuple[int, ...]
    evidence: npt.NDArray[np.float16]
    decided: npt.NDArray[np.uint16]
    final: npt.NDArray[np.bool_]

    def prediction(self, place: int, *, member: int | None = None) -> npt.NDArray[np.float32]:
        """What the kept step at a place of `kept` predicts, (U, V) in [0, 1], by one member or as a mean over all."""
        return np.asarray(self.evidence[place, self._chosen(member)].mean(axis=0, dtype=np.float32))

    def decided_at(self, *, member: int | None = None) -> npt.NDArray[np.float32]:
        """The step at which a pixel was decided, (U, V), of one member or as a mean over all; NaN where it is nothing.

        That is a pixel that is background from the first step to the last: it would be 1 like one that is lesion
        throughout.
        """
        decided, final = self.decided[self._chosen(member)], self.final[self._chosen(member)]
        ever = final.any(axis=0) | (decided > 1).any(axis=0)
        return np.where(ever, decided.mean(axis=0, dtype=np.float32), np.float32(np.nan))

    def _chosen(self, member: int | None) -> slice:
        if member is None:
            return slice(None)
        k = self.members.index(member)
        return slice(k, k + 1)


def record_trajectory(
    traced: Iterable[Traced], *, members: tuple[int, ...], slice_index: int, budget_bytes: int = BUDGET_BYTES
) -> Trajectory | None:
    """Keep what the steps of some members predict on one slice; None where nothing came of that slice.

    Where all steps would take more than the budget, every second, third ... is kept, counted back from the last. When
    pixels were decided is worked out from all of them.

    Parameters
    ----------
    traced : iterable of Traced
        Every step of every member, each member's in their order.
    members : tuple of int
        The members that come.
    slice_index : int
        The source slice; others are left out.
    budget_bytes : int
        For the predictions that are kept; the last one is kept in any case.
    """
    recorder: _Recorder | None = None
    for event in traced:
        if recorder is None:
            recorder = _Recorder(event, members, slice_index, budget_bytes)
        recorder.add(event)
    return None if recorder is None else recorder.trajectory()


class _Recorder:
    """Takes steps in as they come."""

    def __init__(self, first: Traced, members: tuple[int, ...], slice_index: int, budget_bytes: int) -> None:
        plane = first.mask.shape[1:]
        size = 2 * len(members) * plane[0] * plane[1]
        self._kept = steps_kept(first.steps, most=max(budget_bytes // size, 1))
        self._members, self._slice, self._steps = members, slice_index, first.steps
        self._timesteps = dict.fromkeys(self._kept, 0)
        self._evidence = np.zeros((len(self._kept), len(members), *plane), np.float16)
        self._decided = np.ones((len(members), *plane), np.uint16)
        self._now = np.zeros((len(members), *plane), np.bool_)

    def add(self, event: Traced) -> None:
        for row, (member, s) in enumerate(event.rows):
            if s == self._slice:
                self._add_row(event, row, self._members.index(member))

    def _add_row(self, event: Traced, row: int, k: int) -> None:
        mask = event.mask[row]
        if event.step > 1:
            self._decided[k][mask != self._now[k]] = event.step
        self._now[k] = mask
        if event.step in self._timesteps:
            self._timesteps[event.step] = event.timestep
            self._evidence[self._kept.index(event.step), k] = event.evidence[row]

    def trajectory(self) -> Trajectory:
        timesteps = tuple(self._timesteps[n] for n in self._kept)
        return Trajectory(
            self._slice, self._members, self._steps, self._kept, timesteps, self._evidence, self._decided, self._now
        )


def steps_kept(steps: int, *, most: int) -> tuple[int, ...]:
    """The steps, of 1 ... `steps`, that are kept when no more than `most` may be: equally spaced, the last one too."""
    stride = -(-steps // most)
    return tuple(range(steps, 0, -stride)[::-1])
