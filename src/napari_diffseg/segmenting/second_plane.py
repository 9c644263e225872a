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


class MembersAcross:
    """Members whose slices lie across those of the run, each put together until it is whole.

    Parameters
    ----------
    across, run : Conditioning
        Of the slices that are sampled, and of those that masks are wanted on.
    labels : int
        Mask channels.
    """

    def __init__(self, across: Conditioning, run: Conditioning, labels: int) -> None:
        self._across, self._run, self._labels = across, run, labels
        self._places = {s: n for n, s in enumerate(across.sampled)}
        self._parts: dict[int, tuple[npt.NDArray[np.float32], set[int]]] = {}

    def add(
        self, member: int, slices: Sequence[int], probability: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.bool_] | None:
        """Take in slices of a member that are final.

        Parameters
        ----------
        member : int
            Its number.
        slices : sequence of int
            S slices of the second plane.
        probability : ndarray, (labels, S, U, V), float32
            What was sampled there, 0 background and 1 lesion.

        Returns
        -------
        ndarray, (labels, S', U', V'), bool, or None
            Once it is whole, its masks on the slices that the run samples. Between slices of the second plane it is
            interpolated linearly, before it becomes a mask.
        """
        if member not in self._parts:
            shape = (self._labels, len(self._places), *probability.shape[2:])
            self._parts[member] = np.zeros(shape, np.float32), set()
        planes, there = self._parts[member]
        planes[:, [self._places[s] for s in slices]] = probability
        there.update(slices)
        if len(there) < len(self._places):
            return None
        del self._parts[member]
        return self._masks(planes)

    def _masks(self, planes: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
        grid, sampled = self._across.grid, self._across.sampled
        masks = np.zeros((self._labels, *grid.source_shape), np.bool_)
        seen = np.moveaxis(masks, grid.slice_axis + 1, 1)
        for s in range(sampled[0], sampled[-1] + 1):
            after = int(np.searchsorted(sampled, s))
            before = max(0, after - 1)
            share = (s - sampled[before]) / max(1, sampled[after] - sampled[before])
            seen[:, s] = planes[:, before] * np.float32(1 - share) + planes[:, after] * np.float32(share) > 0.5
        chosen = np.moveaxis(masks, self._run.grid.slice_axis + 1, 1)[:, list(self._run.sampled)]
        return np.ascontiguousarray(chosen)
