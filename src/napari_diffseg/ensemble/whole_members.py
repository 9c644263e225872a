"""The whole members of an ensemble at one moment, to be read in another thread while the ensemble grows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from napari_diffseg.ensemble.expected import ExpectedMask

Bool = npt.NDArray[np.bool_]


def _go_on() -> None:
    """Nobody asks the reading to stop."""


@dataclass(frozen=True, eq=False)
class WholeMembers:
    """Members that are final on all slices. Made in no time: it shares the ensemble's bits, which no longer change.

    Attributes
    ----------
    source_shape : (X, Y, Z)
        Shape of the source volume in voxels.
    slice_axis : int
        The source axis along which slices are counted.
    slices : tuple of int
        Source slice indices that the run covers, increasing.
    bits : mapping of int to ndarray, (labels, S, packed bits), uint8
        Each member, its slices packed one by one.
    expected : ExpectedMask or None
        What the run expects, where it is known of every slice.
    before_read : callable
        Called before each member is unpacked; what it raises ends a long reading.
    """

    source_shape: tuple[int, int, int]
    slice_axis: int
    slices: tuple[int, ...]
    bits: Mapping[int, npt.NDArray[np.uint8]]
    expected: ExpectedMask | None = None
    before_read: Callable[[], None] = _go_on

    def of_region(self, channel: int | None) -> WholeMembers:
        """The same members with one mask channel alone; None: with all."""
        if channel is None:
            return self
        bits = {k: those[channel : channel + 1] for k, those in self.bits.items()}
        return replace(self, bits=bits, expected=None if self.expected is None else self.expected.of_region(channel))

    @property
    def members(self) -> tuple[int, ...]:
        """Their numbers, increasing."""
        return tuple(sorted(self.bits))

    def member(self, member: int) -> Bool:
        """One member as a volume (labels, X, Y, Z).

        Raises
        ------
        KeyError
            If it is not among them.
        """
        self.before_read()
        bits = self.bits[member]
        u, v = (n for axis, n in enumerate(self.source_shape) if axis != self.slice_axis)
        slab = np.unpackbits(bits, axis=-1, count=u * v).view(np.bool_).reshape(*bits.shape[:2], u, v)
        out = np.zeros((bits.shape[0], *self.source_shape), np.bool_)
        np.moveaxis(out, self.slice_axis + 1, 1)[:, list(self.slices)] = slab
        return out

    def lesion(self, member: int) -> Bool:
        """The voxels that a member marks with any label, (X, Y, Z).

        Raises
        ------
        KeyError
            If it is not among them.
        """
        return np.asarray(self.member(member).any(axis=0))
