"""What a conditioned denoiser is trained for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_diffseg.diffusion.schedule import Schedule


def draw_timesteps(count: int, total: int, *, generator: torch.Generator) -> torch.Tensor:
    """Timesteps to train on, (count,), int64: one in two uniform, one in two from the noisiest fifth.

    Where little noise is left the answer can be read off x_t; what a lesion looks like is learned where it cannot.
    """
    uniform = torch.rand(count, generator=generator)
    noisy = 0.8 + 0.2 * torch.rand(count, generator=generator)
    choice = torch.rand(count, generator=generator) < 0.5
    t = (torch.where(choice, noisy, uniform) * total).long()
    return t.clamp_(0, total - 1)


def diffuse(mask: torch.Tensor, t: torch.Tensor, schedule: Schedule, *, noise: torch.Tensor) -> torch.Tensor:
    """Forward process: x_t for clean masks (B, M, H, W) at timesteps (B,), same shape.

    References
    ----------
    Ho et al. 2020, arXiv:2006.11239, equation 4.
    """
    kept = torch.from_numpy(schedule.alphas_cumprod)[t].to(mask).view(-1, 1, 1, 1)
    return kept.sqrt() * mask + (1 - kept).sqrt() * noise


def denoising_loss(
    network: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    image: torch.Tensor,
    mask: torch.Tensor,
    schedule: Schedule,
    *,
    generator: torch.Generator,
    dice_weight: float = 0.1,
) -> torch.Tensor:
    """Mean squared error of the predicted x_0, whose optimum is the posterior mean, plus a little soft Dice.

    Parameters
    ----------
    network : callable
        Predicts x_0 (B, M, H, W) from channels (B, I + M, H, W) and timesteps (B,).
    image : Tensor, (B, I, H, W), float32
        Normalised modalities.
    mask : Tensor, (B, M, H, W), float32
        -1 background, 1 lesion.
    schedule : Schedule
        Not respaced: one entry a training timestep.
    generator : torch.Generator
        Draws timesteps and noise, on the host.
    dice_weight : float
        Weight of the Dice term. Dice sharpens, so much of it costs calibration.
    """
    t = draw_timesteps(len(mask), len(schedule.alphas_cumprod), generator=generator)
    noise = torch.randn(mask.shape, generator=generator).to(mask)
    x_t = diffuse(mask, t, schedule, noise=noise)
    x0 = network(torch.cat([image, x_t], dim=1), t.to(image.device)).float()
    return functional.mse_loss(x0, mask) + dice_weight * soft_dice_loss((x0.clamp(-1, 1) + 1) / 2, (mask + 1) / 2)


def soft_dice_loss(probability: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """1 - Dice of probabilities (B, M, H, W) with a binary target, over the whole batch, as a scalar."""
    overlap = (probability * target).sum()
    return 1 - (2 * overlap + 1) / (probability.sum() + target.sum() + 1)
