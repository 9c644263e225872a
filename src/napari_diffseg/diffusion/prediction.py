"""What a network's output means: the clean mask in a prediction of any kind, and a variance that was learned."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, assert_never

import torch

if TYPE_CHECKING:
    from napari_diffseg.diffusion.schedule import PredictionName

Coefficient = TypeVar("Coefficient", float, torch.Tensor)
"""One number for all rows, or one a row, (B, 1, 1, 1)."""


def clean_mask(
    predicted: torch.Tensor, x_t: torch.Tensor, *, signal: Coefficient, noise: Coefficient, kind: PredictionName
) -> torch.Tensor:
    """The clean mask x_0 that a prediction means at x_t, (B, M, H, W), not clipped.

    Parameters
    ----------
    predicted, x_t : Tensor, (B, M, H, W)
        What the network gave, and the noisy mask that it saw.
    signal, noise : float or Tensor, (B, 1, 1, 1)
        x_t = signal * x_0 + noise * epsilon.
    kind : {"epsilon", "x0", "v"}
        What the network predicts.

    References
    ----------
    Ho et al. 2020, arXiv:2006.11239, equation 4; Salimans & Ho 2022, arXiv:2202.00512, section 4 (v).
    """
    match kind:
        case "epsilon":
            return (1 / signal) * x_t - (noise / signal) * predicted
        case "x0":
            return predicted
        case "v":
            return signal * x_t - noise * predicted
        case _:
            assert_never(kind)


def learned_log_variance(learned: torch.Tensor, *, smallest: Coefficient, largest: Coefficient) -> torch.Tensor:
    """The log variance whose place between the smallest (-1) and the largest (1) a network gave.

    References
    ----------
    Nichol & Dhariwal 2021, arXiv:2102.09672, equation 15.
    """
    share = (learned + 1) / 2
    return share * largest + (1 - share) * smallest
