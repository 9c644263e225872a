"""The one-step estimate of a run: the probability of each voxel, x_0 after one evaluation."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_diffseg.events import Started

Float = npt.NDArray[np.float32]


@dataclass(eq=False)
class ExpectedMask:
    """The one-step estimate of a run: its posterior mean, slice by slice as its first member is begun.

    On the source's voxels. Beside it, once it has come of all slices, the same refined by brightness, where the run
    does so (`napari_diffseg.ensemble.refinement`).

    A run that nothing has come of yet knows of its slices without brain alone.

    It is what the mean of very many members comes near, and p (1 - p) their variance, without the coarse levels that
    few members have: five that agree on an error call it certain, the one-step estimate seldom does. A slice that holds
    no brain, or was not asked for, is zero. See `napari_diffseg.events.Expected` for which checkpoints have one.

    Parameters
    ----------
    started : Started
        The run.
    """

    started: Started
    _probability: Float = field(init=False, repr=False)
    _missing: set[int] = field(init=False, repr=False)
    _refined: Float = field(init=False, repr=False)
    _unrefined: set[int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        shape = (len(self.started.labels), *self.started.source_shape)
        self._probability, self._refined = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        self._missing = set(self.started.sampled)
        self._unrefined = set(self.started.sampled)

    def add(self, slices: Sequence[int], probability: Float) -> None:
        """Take in some slices; those that are there already stay as they are.

        Parameters
        ----------
        slices : sequence of int
            Source slice indices, all of the run's.
        probability : ndarray, (labels, len(slices), U, V), float32
            In [0, 1].
        """
        view = np.moveaxis(self._probability, self.started.slice_axis + 1, 1)
        for i, s in enumerate(slices):
            if s in self._missing:
                view[:, s] = probability[:, i]
                self._missing.discard(s)

    def refine(self, slices: Sequence[int], probability: Float) -> None:
        """Take in some slices of the estimate as it is refined by brightness; those that are there stay as they are.

        Parameters
        ----------
        slices, probability :
            As of `add`.
        """
        view = np.moveaxis(self._refined, self.started.slice_axis + 1, 1)
        for i, s in enumerate(slices):
            if s in self._unrefined:
                view[:, s] = probability[:, i]
                self._unrefined.discard(s)

    def refined(self) -> Float | None:
        """The refined estimate, (labels, X, Y, Z), float32; None where there is none, or not yet of every slice."""
        return None if self._unrefined or not self.started.refined_by else self._refined

    def share_on_slice(self, slice_index: int, *, refined: bool = True) -> Float | None:
        """P(lesion) on a source slice, (labels, U, V), refined where it is and may be; None where it has not come."""
        known = self.refined() if refined else None
        if known is None:
            return self.on_slice(slice_index)
        view: Float = np.moveaxis(known, self.started.slice_axis + 1, 1)[:, slice_index]
        return view

    def on_slice(self, slice_index: int) -> Float | None:
        """P(lesion) on a source slice, (labels, U, V), not to be written to; None where it has not come."""
        if slice_index in self._missing:
            return None
        view: Float = np.moveaxis(self._probability, self.started.slice_axis + 1, 1)[:, slice_index]
        return view

    def of_region(self, channel: int) -> ExpectedMask:
        """The same of one mask channel alone, as far as it has come."""
        s = self.started
        one = ExpectedMask(replace(s, labels=(s.labels[channel],), label_values=s.label_values[channel : channel + 1]))
        known = [i for i in s.slices if i not in self._missing]
        one.add(known, np.moveaxis(self._probability[channel], s.slice_axis, 0)[None, known])
        if (refined := self.refined()) is not None:
            one.refine(s.slices, np.moveaxis(refined[channel], s.slice_axis, 0)[None, list(s.slices)])
        return one

    @property
    def is_complete(self) -> bool:
        """Whether all slices that are sampled are there."""
        return not self._missing

    @property
    def is_final(self) -> bool:
        """Whether nothing more comes: all slices are there, and refined where the run refines them."""
        return self.is_complete and not (self.started.refined_by and self._unrefined)

    def at(self, voxel: tuple[int, int, int]) -> tuple[float, ...] | None:
        """P(lesion) of each label at a source voxel; None on a slice that has not come, or that nothing comes of."""
        s = voxel[self.started.slice_axis]
        if s in self._missing or s not in self.started.sampled:
            return None
        return tuple(float(p) for p in self._probability[:, *voxel])

    def probability(self) -> Float:
        """P(lesion), (labels, X, Y, Z), float32, 0 where it has not come yet."""
        return self._probability

    def variance(self) -> Float:
        """The variance that very many members would have, p (1 - p), (labels, X, Y, Z), float32."""
        return np.asarray(self._probability * (1 - self._probability), np.float32)
