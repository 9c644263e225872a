"""One step of a sampler."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One denoising step, done; a chain of N steps yields them with `index` from N - 1 to 0.

    Attributes
    ----------
    index : int
        Into the schedule; 0 is the last step.
    timestep : int
        Of the original chain, that the network was told.
    x : Tensor, (B, M, H, W), float32, on the device
        The mask after the step; at index 0, the sample.
    x0 : Tensor, (B, M, H, W), float32, on the device
        The clean mask that was predicted for the step.
    """

    index: int
    timestep: int
    x: torch.Tensor
    x0: torch.Tensor


Steps = Generator[Step, "torch.Tensor | None", None]
"""What a sampler gives. To go on with some rows alone, send their places (B',), int64, and let denoiser and noise keep
the same ones before."""
