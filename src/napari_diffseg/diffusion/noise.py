"""Where a sampler's random numbers come from: one stream a row, each a pure function of its seed."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Protocol

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence


class NoiseSource(Protocol):
    """Whatever gives a sampler its noise."""

    def __call__(self) -> torch.Tensor:
        """The next draw: (B, M, H, W), float32, standard normal, on the device of the sampler.

        The first draw of a chain is x_T.
        """
        ...


class SeededNoise:
    """Standard normal noise in which every row of the batch has a generator of its own, on the host.

    So a row's numbers are the same alone, in any batch, at any place in it, and on any device.

    Parameters
    ----------
    seeds : sequence of int
        One a row, each in [0, 2**63).
    shape : tuple of int
        (M, H, W) of a row.
    device : torch.device or str
        Where the draws go.

    Notes
    -----
    The generator, a Mersenne twister, uses the lower 32 bits of its seed only.
    """

    def __init__(self, seeds: Sequence[int], shape: tuple[int, ...], device: torch.device | str) -> None:
        self._generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
        self._shape = shape
        self._device = torch.device(device)

    def keep(self, rows: torch.Tensor) -> None:
        """Draw for some of the rows alone; their places (B',) among those that are left."""
        self._generators = [self._generators[i] for i in rows.tolist()]

    def __call__(self) -> torch.Tensor:
        """The next draw, (B, M, H, W), float32, on the device."""
        # Row by row, not a slice of one large draw: how many numbers are drawn at once changes which they are.
        on_cuda = self._device.type == "cuda"
        drawn = torch.empty(len(self._generators), *self._shape, dtype=torch.float32, pin_memory=on_cuda)
        for row, generator in zip(drawn, self._generators, strict=True):
            torch.randn(self._shape, generator=generator, out=row)
        return drawn.to(self._device, non_blocking=on_cuda)


def member_seed(seed: int, member: int, slice_index: int) -> int:
    """The seed of one member's noise on one slice.

    The first 8 bytes (big-endian) of the SHA-256 of "seed/member/slice_index" in decimal ASCII, without their highest
    bit. Neighbouring members and slices have unrelated seeds, which sums or products of the three do not give.

    Parameters
    ----------
    seed : int
        Of the run.
    member : int
        Number of the member, from 0.
    slice_index : int
        Index of the slice in the source.

    Returns
    -------
    int
        In [0, 2**63). The lower 32 bits alone reach `SeededNoise`: of 100 members of one slice, two are the same with
        a probability of about one in a million.
    """
    digest = hashlib.sha256(f"{seed}/{member}/{slice_index}".encode("ascii")).digest()
    return int.from_bytes(digest[:8], "big") >> 1
