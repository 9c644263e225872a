"""Members that are sampled in slices of a second plane, and brought to those of the first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from napari_diffseg.encode import Conditioning
    from napari_diffseg.recipe import Recipe

    Float = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Plane:
    """Slices in one plane.

    Attributes
    ----------
    recipe : Recipe
        Says in which directions their rows and columns run.
    conditioning : Conditioning
        What the network is shown of them.
    """

    recipe: Recipe
    conditioning: Conditioning


@dataclass(frozen=True, slots=True, eq=False)
class SecondPlane:
    """The way from slices of a second plane to those that a run samples.

    Attributes
    ----------
    across, run : Conditioning
        Of the slices of the second plane, and of the run's.
    """

    across: Conditioning
    run: Conditioning

    def brought_over(self, planes: Float) -> Float:
        """Values on slices of the second plane, as they are on the run's, linearly interpolated between slices.

        Parameters
        ----------
        planes : ndarray, (labels, S, U, V), float32
            Of all slices that are sampled in the second plane.

        Returns
        -------
        ndarray, (labels, S', U', V'), float32
            Of those that the run samples; 0 beyond the first and the last of the others, and where there is no brain
            on a slice between two. Nor is there anything outside of the brain, where the network is shown it without
            its rim.
        """
        grid, sampled = self.across.grid, self.across.sampled
        axis, wanted = self.run.grid.slice_axis, list(self.run.sampled)
        planes = planes.take(wanted, axis=axis + (1 if axis > grid.slice_axis else 2))
        shape = [len(wanted) if n == axis else size for n, size in enumerate(grid.source_shape)]
        volume = np.zeros((len(planes), *shape), np.float32)
        seen = np.moveaxis(volume, grid.slice_axis + 1, 1)
        for s in (s for s in self.across.slices if sampled[0] <= s <= sampled[-1]):
            after = int(np.searchsorted(sampled, s))
            before = max(0, after - 1)
            share = (s - sampled[before]) / max(1, sampled[after] - sampled[before])
            seen[:, s] = planes[:, before] * np.float32(1 - share) + planes[:, after] * np.float32(share)
        if self.across.rim is not None:
            volume *= self.across.rim.inside.take(wanted, axis=axis)
        return np.moveaxis(volume, axis + 1, 1)


class MembersAcross:
    """Members of the second plane, each put together until it is whole.

    Parameters
    ----------
    plane : SecondPlane
        Where they are sampled.
    labels : int
        Mask channels.
    """

    def __init__(self, plane: SecondPlane, labels: int) -> None:
        self._plane, self._labels = plane, labels
        self._places = {s: n for n, s in enumerate(plane.across.sampled)}
        self._parts: dict[int, tuple[Float, set[int]]] = {}

    def add(self, member: int, slices: Sequence[int], values: Float) -> Float | None:
        """Take in slices of a member that are final.

        Parameters
        ----------
        member : int
            Its number.
        slices : sequence of int
            S slices of the second plane.
        values : ndarray, (labels, S, U, V), float32
            What was sampled there, 0 background and 1 lesion.

        Returns
        -------
        ndarray, (labels, S', U', V'), float32, or None
            Once it is whole, the member on the slices that the run samples.
        """
        if member not in self._parts:
            shape = (self._labels, len(self._places), *values.shape[2:])
            self._parts[member] = np.zeros(shape, np.float32), set()
        planes, there = self._parts[member]
        planes[:, [self._places[s] for s in slices]] = values
        there.update(slices)
        if len(there) < len(self._places):
            return None
        del self._parts[member]
        return self._plane.brought_over(planes)
