"""What a conditioned denoiser is trained for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict, assert_never

import numpy as np
import torch

from napari_diffseg.diffusion.prediction import clean_mask, learned_log_variance
from napari_diffseg.errors import BadRecipe

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_diffseg.diffusion.schedule import PredictionName, Schedule
    from napari_diffseg.recipe import Recipe
    from napari_diffseg.training.config import LossSettings

_BIN = 1 / 255


class Example(TypedDict):
    """One slice, or (with a first axis B) a batch of them.

    image (I, H, W) and mask (M, H, W) as the network sees them, timestep () int64, noise (M, H, W); float32. known (M,)
    is 1 for a region whose mask is known, 0 for one that nobody drew: of its mask nothing is learned.
    """

    image: torch.Tensor
    mask: torch.Tensor
    timestep: torch.Tensor
    noise: torch.Tensor
    known: torch.Tensor


def place_timestep(first: float, second: float, total: int, *, noisiest: float) -> int:
    """The timestep that two numbers drawn evenly from [0, 1) mean, of 0 to total - 1.

    In one case of two (by the second) it is of the `noisiest` part of them, in (0, 1]; 1 draws all evenly. Where little
    noise is left the answer can be read off x_t; what a lesion looks like is learned where it cannot.
    """
    place = 1 - noisiest * (1 - first) if second < 0.5 else first
    return min(int(place * total), total - 1)


def diffuse(mask: torch.Tensor, t: torch.Tensor, schedule: Schedule, *, noise: torch.Tensor) -> torch.Tensor:
    """Forward process: x_t for clean masks (B, M, H, W) at timesteps (B,), same shape.

    References
    ----------
    Ho et al. 2020, arXiv:2006.11239, equation 4.
    """
    signal, spread = _signal_and_noise(schedule, t, mask)
    return signal * mask + spread * noise


@dataclass(frozen=True, slots=True, eq=False)
class TrainingLoss:
    """The loss of a batch: squared error of what is predicted, plus soft Dice, plus the variational bound.

    Each is measured for every region by itself; the loss is their mean, weighted where the settings say so, over the
    regions that are known. In x_t an unknown region is noise alone, of which the network can learn nothing.

    The squared error's optimum is the posterior mean. The bound is there where the recipe learns the variance, and
    trains nothing but the variance: the mean in it is held still.

    Parameters
    ----------
    recipe : Recipe
        What the network predicts, and how masks are encoded.
    schedule : Schedule
        Not respaced: one entry a training timestep.
    settings : LossSettings
        Weights. Dice sharpens, so much of it costs calibration.

    References
    ----------
    Nichol & Dhariwal 2021, arXiv:2102.09672, section 3.1, of which the weight 1 is lambda = 1 / T;
    Salimans & Ho 2022, arXiv:2202.00512, section 4 (v).
    """

    recipe: Recipe
    schedule: Schedule
    settings: LossSettings

    def __call__(self, network: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], batch: Example) -> torch.Tensor:
        """The loss as a scalar.

        Parameters
        ----------
        network : callable
            Gives M or 2 M channels from (B, I + M, H, W) and what it is told of the time, (B,).
        batch : Example
            With a first axis B.
        """
        mask, noise, t, known = batch["mask"], batch["noise"], batch["timestep"], batch["known"]
        x_t = diffuse(mask, t, self.schedule, noise=noise)
        x_t = torch.where(known[:, :, None, None] > 0, x_t, noise)
        told = t.float() * (1000 / self.schedule.total if self.recipe.rescale_timesteps else 1.0)
        image = batch["image"]
        channels = [x_t, image] if self.recipe.channel_order == "mask_first" else [image, x_t]
        out = network(torch.cat(channels, dim=1), told).float()
        if out.shape[1] != self.recipe.out_channels:
            raise BadRecipe(
                f"The network gives {out.shape[1]} channels, but the recipe's labels and variance need "
                f"{self.recipe.out_channels}: correct one of them."
            )
        predicted, learned = out[:, : mask.shape[1]], out[:, mask.shape[1] :]
        weight = known * self._region_weights(known)
        target = _target(mask, noise, t, self.schedule, kind=self.recipe.prediction)
        loss = _weighted(((predicted - target) ** 2).mean(dim=(2, 3)), weight)
        if self.settings.dice_weight:
            loss = loss + self.settings.dice_weight * self._dice(predicted, x_t, batch)
        if learned.shape[1] and self.settings.variational_weight:
            x0 = predicted_x0(predicted.detach(), x_t, t, self.schedule, kind=self.recipe.prediction)
            bound = variational_bound(x0, learned, x_t, mask, t, self.schedule)
            loss = loss + self.settings.variational_weight * _weighted(bound, weight)
        return loss

    def _region_weights(self, like: torch.Tensor) -> torch.Tensor:
        """(M,), of mean 1."""
        given = self.settings.region_weights or (1.0,) * len(self.recipe.labels)
        return torch.tensor(given, dtype=like.dtype, device=like.device) * (len(given) / sum(given))

    def _dice(self, predicted: torch.Tensor, x_t: torch.Tensor, batch: Example) -> torch.Tensor:
        x0 = predicted_x0(predicted, x_t, batch["timestep"], self.schedule, kind=self.recipe.prediction)
        low, high = self.recipe.mask_low, self.recipe.mask_high
        known = batch["known"][:, :, None, None]
        probability, target = ((v - low) / (high - low) * known for v in (x0.clamp(low, high), batch["mask"]))
        there = batch["known"].amax(dim=0)
        return _weighted(soft_dice_loss(probability, target), there * self._region_weights(there))


def _weighted(losses: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """The weighted mean of losses, of any shape, as a scalar; 0 where nothing has a weight."""
    return (losses * weight).sum() / weight.sum().clamp(min=1e-6)


def predicted_x0(
    predicted: torch.Tensor, x_t: torch.Tensor, t: torch.Tensor, schedule: Schedule, *, kind: PredictionName
) -> torch.Tensor:
    """The clean mask (B, M, H, W) that a prediction of any kind means at x_t, not clipped."""
    signal, spread = _signal_and_noise(schedule, t, x_t)
    return clean_mask(predicted, x_t, signal=signal, noise=spread, kind=kind)


def variational_bound(
    x0: torch.Tensor,
    learned: torch.Tensor,
    x_t: torch.Tensor,
    mask: torch.Tensor,
    t: torch.Tensor,
    schedule: Schedule,
) -> torch.Tensor:
    """One term of the variational bound for each row and region, in bits a pixel, (B, M).

    At t > 0 the divergence of the model's step from the true posterior; at t = 0 the negative log likelihood of the
    mask in bins of 2 / 255.

    Parameters
    ----------
    x0 : Tensor, (B, M, H, W)
        The clean mask that the model expects, not clipped, without gradient.
    learned : Tensor, (B, M, H, W)
        Place of the log variance between its smallest (-1) and largest (1) value.
    x_t, mask : Tensor, (B, M, H, W)
        Noisy and clean.
    t : Tensor, (B,), int64
        Timesteps.
    schedule : Schedule
        Not respaced.

    References
    ----------
    Ho et al. 2020, arXiv:2006.11239, equations 5 to 7 and 13; Nichol & Dhariwal 2021, arXiv:2102.09672, equation 15.
    """
    smallest, largest, of_x0, of_x_t = (
        _at(torch.from_numpy(values), t, x_t)
        for values in (
            schedule.posterior_log_variance,
            np.log(schedule.betas),
            schedule.posterior_mean_x0,
            schedule.posterior_mean_x_t,
        )
    )
    log_variance = learned_log_variance(learned, smallest=smallest, largest=largest)
    mean, true_mean = of_x0 * x0 + of_x_t * x_t, of_x0 * mask + of_x_t * x_t
    divergence = 0.5 * (
        log_variance - smallest - 1 + torch.exp(smallest - log_variance) + (true_mean - mean) ** 2 / log_variance.exp()
    )
    likelihood = binned_log_likelihood(mask, mean, log_variance)
    first = (t == 0).view(-1, 1, 1, 1)
    return torch.where(first, -likelihood, divergence).mean(dim=(2, 3)) / math.log(2)


def binned_log_likelihood(values: torch.Tensor, mean: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
    """Log of the mass that a Gaussian has in the bin of width 2 / 255 about each value in [-1, 1]; natural logarithm.

    The bins of -1 and 1 reach to infinity. A mass below 1e-12 counts as that.

    References
    ----------
    Ho et al. 2020, arXiv:2006.11239, equation 13.
    """
    scale = torch.exp(-0.5 * log_variance)
    above = torch.special.ndtr((values - mean + _BIN) * scale)
    below = torch.special.ndtr((values - mean - _BIN) * scale)
    above = torch.where(values > 0.999, 1.0, above)
    below = torch.where(values < -0.999, 0.0, below)
    return torch.log((above - below).clamp(min=1e-12))


def soft_dice_loss(probability: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """1 - Dice of probabilities (B, M, H, W) with a binary target, over the whole batch, for each region, (M,)."""
    over = (0, 2, 3)
    overlap = (probability * target).sum(dim=over)
    return 1 - (2 * overlap + 1) / (probability.sum(dim=over) + target.sum(dim=over) + 1)


def _target(
    mask: torch.Tensor, noise: torch.Tensor, t: torch.Tensor, schedule: Schedule, *, kind: PredictionName
) -> torch.Tensor:
    match kind:
        case "epsilon":
            return noise
        case "x0":
            return mask
        case "v":
            signal, spread = _signal_and_noise(schedule, t, mask)
            return signal * noise - spread * mask
        case _:
            assert_never(kind)


def _signal_and_noise(schedule: Schedule, t: torch.Tensor, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    kept = torch.from_numpy(schedule.alphas_cumprod)
    return _at(kept.sqrt(), t, like), _at((1 - kept).sqrt(), t, like)


def _at(values: torch.Tensor, t: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """The values (T,) at timesteps (B,), float32, to be multiplied with (B, M, H, W)."""
    return values.to(device=like.device, dtype=like.dtype)[t].view(-1, 1, 1, 1)
