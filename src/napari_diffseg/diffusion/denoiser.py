"""The one contract between networks and samplers, and the adapter that makes a network keep it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, assert_never, runtime_checkable

import torch

from napari_diffseg.diffusion.prediction import clean_mask, learned_log_variance
from napari_diffseg.errors import BadRecipe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_diffseg.diffusion.schedule import PredictionName, Schedule, VarianceName

Network = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Channels (B, I + M, H, W) and timesteps (B,) to a prediction (B, M or 2 M, H, W)."""

Predict = Callable[[torch.Tensor, float], torch.Tensor]
"""A noisy mask (B, M, H, W) and the timestep that a network is told to a prediction (B, M or 2 M, H, W)."""


@runtime_checkable
class ConditionableNetwork(Protocol):
    """A network that does the image's part once, and a timestep's once for all rows."""

    def conditioned_on(self, image: torch.Tensor) -> Predict:
        """The network for one batch of images (B, I, H, W), float32."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Denoised:
    """What a denoiser says of a noisy mask x_t.

    Attributes
    ----------
    x0 : Tensor, (B, M, H, W), float32
        The clean mask expected.
    epsilon : Tensor, (B, M, H, W), float32
        The noise that turns this x0 into x_t; they fit each other unless x0 was clipped and the denoiser keeps the
        noise that was predicted.
    log_variance : Tensor, (B, M, H, W), or float, or None
        Log variance of an ancestral step; None where the denoiser has no opinion.
    """

    x0: torch.Tensor
    epsilon: torch.Tensor
    log_variance: torch.Tensor | float | None


class Denoiser(Protocol):
    """Whatever predicts the clean mask in a noisy one."""

    def __call__(self, x_t: torch.Tensor, index: int) -> Denoised:
        """Denoise x_t (B, M, H, W), float32, at an index into the schedule, 0 the least noise."""
        ...


class ConditionedDenoiser:
    """A network, conditioned on an image, as a denoiser.

    Parameters
    ----------
    network : Network or ConditionableNetwork
        Takes the image's and then the mask's channels, (B, I + M, H, W), and the original timesteps (B,); or first the
        image alone.
    image : Tensor, (B, I, H, W), float32
        The same at every step, and never noisy.
    schedule : Schedule
        Of the chain; an index means one of its entries.
    prediction : {"epsilon", "x0", "v"}
        What the network gives in its first M channels.
    variance : {"learned_range", "fixed_large", "fixed_small"}
        learned_range: another M channels, in [-1, 1], go from the smallest to the largest log variance. The others
        are constants: the largest (beta) and the smallest (that of the posterior).
    clip : (float, float) or None
        Range that the predicted x_0 is clipped to.
    rescale_timesteps : bool
        Whether the network is told t * 1000 / T rather than t.
    epsilon_after_clip : bool
        Whether the noise is worked out again from the clipped x_0, as guided-diffusion does. diffusers and MONAI go on
        with the one predicted.

    References
    ----------
    Ho et al. 2020, arXiv:2006.11239; Nichol & Dhariwal 2021, arXiv:2102.09672, equation 15 (learned range);
    Salimans & Ho 2022, arXiv:2202.00512, section 4 (v); Wolleb et al. 2022, arXiv:2112.03145 (conditioning).
    """

    def __init__(
        self,
        network: Network | ConditionableNetwork,
        image: torch.Tensor,
        schedule: Schedule,
        *,
        prediction: PredictionName,
        variance: VarianceName,
        clip: tuple[float, float] | None = (-1.0, 1.0),
        rescale_timesteps: bool = False,
        epsilon_after_clip: bool = True,
        first: Sequence[torch.Tensor | None] = (),
    ) -> None:
        self._network, self._image = network, image
        self._predict: Predict | None = None
        self._first = first
        self.last: torch.Tensor | None = None
        self._schedule = schedule
        self._prediction = prediction
        self._variance = variance
        self._clip = clip
        self._epsilon_after_clip = epsilon_after_clip
        self._time_scale = 1000 / schedule.total if rescale_timesteps else 1.0

    def keep(self, rows: torch.Tensor) -> None:
        """Denoise some of the rows alone; their places (B',) among those that are left."""
        self._image = self._image[rows]
        self._predict = None

    def __call__(self, x_t: torch.Tensor, index: int) -> Denoised:
        """What the network says of x_t (B, M, H, W), float32; see `Denoiser`.

        Raises
        ------
        BadRecipe
            If the network gives another number of channels than its mask and its variance have.
        """
        with torch.no_grad():
            predicted, log_variance = self._evaluate(x_t, index)
            kept = float(self._schedule.alphas_cumprod[index])
            signal, noise = math.sqrt(kept), math.sqrt(1 - kept)
            x0 = clean_mask(predicted, x_t, signal=signal, noise=noise, kind=self._prediction)
            epsilon = None if self._epsilon_after_clip else (x_t - signal * x0) / noise
            if self._clip is not None:
                x0 = x0.clamp(*self._clip)
            return Denoised(x0, (x_t - signal * x0) / noise if epsilon is None else epsilon, log_variance)

    def _evaluate(self, x_t: torch.Tensor, index: int) -> tuple[torch.Tensor, torch.Tensor | float]:
        """The prediction (B, M, H, W), float32, and the log variance."""
        told = self._schedule.timestep(index) * self._time_scale
        self.last = out = self._ask(x_t, told)
        masks = x_t.shape[1]
        expected = 2 * masks if self._variance == "learned_range" else masks
        if out.shape[1] != expected:
            raise BadRecipe(
                f"The network gives {out.shape[1]} channels, but {masks} mask channels with the variance "
                f"{self._variance} need {expected}: correct the recipe's labels or variance."
            )
        return out[:, :masks], self._log_variance(out[:, masks:], index)

    def _ask(self, x_t: torch.Tensor, told: float) -> torch.Tensor:
        """What the network gives, (B, M or 2 M, H, W), float32; of rows that are known what it gave."""
        first, self._first = self._first, ()
        known = [row for row in first if row is not None]
        if not known:
            if self._predict is None:
                self._predict = _predict(self._network, self._image)
            return self._predict(x_t, told).float()
        out = x_t.new_empty((len(x_t), *known[0].shape))
        is_new = torch.tensor([row is None for row in first], device=x_t.device)
        out[~is_new] = torch.stack(known)
        if len(known) < len(x_t):
            out[is_new] = _predict(self._network, self._image[is_new])(x_t[is_new], told).float()
        return out

    def _log_variance(self, learned: torch.Tensor, index: int) -> torch.Tensor | float:
        smallest = float(self._schedule.posterior_log_variance[index])
        match self._variance:
            case "learned_range":
                largest = math.log(self._schedule.betas[index])
                return learned_log_variance(learned, smallest=smallest, largest=largest)
            case "fixed_large":
                return float(self._schedule.large_log_variance[index])
            case "fixed_small":
                return smallest
            case _:
                assert_never(self._variance)


def _predict(network: Network | ConditionableNetwork, image: torch.Tensor) -> Predict:
    """The network for one batch of images."""
    if isinstance(network, ConditionableNetwork):
        return network.conditioned_on(image)
    return _concatenating(network, image)


def _concatenating(network: Network, image: torch.Tensor) -> Predict:
    """A network that is shown the image and the timestep of every row, anew at every step."""

    def predict(x_t: torch.Tensor, told: float) -> torch.Tensor:
        timesteps = torch.full((len(x_t),), told, dtype=torch.float32, device=x_t.device)
        return network(torch.cat([image, x_t], dim=1), timesteps)

    return predict
