"""Plain U-Nets and a small diffusion network, trained by one loop: equal slices, equal steps, equal everything else."""

from __future__ import annotations

import io
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, assert_never

import numpy as np
import numpy.typing as npt
import torch
from held_out import reader_slices
from torch.nn import functional

from napari_diffseg.diffusion.schedule import make_schedule
from napari_diffseg.imaging.atomic import atomic_write
from napari_diffseg.networks.unet import UNet

if TYPE_CHECKING:
    from pathlib import Path

    from napari_diffseg.networks.config import UNetConfig
    from napari_diffseg.recipe import Recipe

ArmName = Literal["plain", "diffusion"]

_POOL_SEED, _POOL_EVERY = 1000, 4
_NOISIEST = 0.2


class OutOfTime(Exception):
    """The time that a benchmark was given is over."""


@dataclass(frozen=True, slots=True)
class Slices:
    """Slices and their readers' masks: images (N, I, H, W) float16 in [0, 1], masks (N, readers, H, W) uint8."""

    images: npt.NDArray[np.float16]
    masks: npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Budget:
    """What a network is trained with; both kinds alike.

    `dice_weight` is that of the soft Dice beside the cross-entropy (plain) or the squared error (diffusion).
    """

    steps: int
    batch: int = 12
    learning_rate: float = 4e-4
    warmup: int = 50
    ema: float = 0.998
    missing: float = 0.1
    dice_weight: float = 0.1
    save_every: int = 50


def read_slices(path: Path, recipe: Recipe, *, phantoms: int) -> Slices:
    """The slices in an .npz with `images` and `masks`; where there is none, they are drawn and kept there."""
    if not path.exists():
        parts = [reader_slices(recipe, seed=_POOL_SEED + k, every=_POOL_EVERY) for k in range(phantoms)]
        images, masks = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(path, lambda file: np.savez(file, images=images, masks=masks))
    with np.load(path, allow_pickle=False) as arrays:
        return Slices(arrays["images"], arrays["masks"])


def plain_config(config: UNetConfig, recipe: Recipe) -> UNetConfig:
    """The network without its noisy mask: modalities in, one logit a mask channel out."""
    return replace(config, in_channels=len(recipe.modalities), out_channels=len(recipe.labels))


class Arm:
    """A network in training; stopped and started again it gives the same weights.

    Parameters
    ----------
    kind : {"plain", "diffusion"}
        plain: predicts the mask at time 0. diffusion: predicts x_0 from a noisy mask.
    config : UNetConfig
        Of this kind.
    recipe : Recipe
        Schedule of the diffusion; x_0 prediction with masks of -1 and 1.
    budget : Budget
        How long.
    seed : int
        Of weights and data.
    """

    def __init__(self, kind: ArmName, config: UNetConfig, recipe: Recipe, *, budget: Budget, seed: int) -> None:
        self.kind, self.budget, self.step = kind, budget, 0
        self._kept = torch.from_numpy(make_schedule(recipe.schedule, recipe.train_timesteps).alphas_cumprod).float()
        torch.manual_seed(seed)
        self._network = UNet(config)
        self._average = {name: p.detach().clone() for name, p in self._network.state_dict().items()}
        self._optimizer = torch.optim.AdamW(self._network.parameters(), lr=budget.learning_rate, weight_decay=1e-4)
        self._generator = torch.Generator().manual_seed(seed)

    def train(self, slices: Slices, path: Path, *, name: str, until: float | None = None) -> UNet:
        """Train to the last step, saving on the way; gives the averaged network.

        Parameters
        ----------
        slices : Slices
            To train on.
        path : Path
            Where the state goes; read first if it is there.
        name : str
            For the screen.
        until : float, optional
            A time of `time.monotonic()` after which to stop.

        Raises
        ------
        OutOfTime
            If it stopped; everything up to then is kept.
        """
        if path.exists():
            self._resume(path)
        self._network.train()
        began, first = time.monotonic(), self.step
        while self.step < self.budget.steps:
            loss = self._train_step(slices)
            self.step += 1
            late = until is not None and time.monotonic() > until and self.step < self.budget.steps
            if late or self.step % self.budget.save_every == 0 or self.step == self.budget.steps:
                self._save(path)
                each = (time.monotonic() - began) / (self.step - first)
                left = each * (self.budget.steps - self.step) / 60
                print(f"{name}  step {self.step}/{self.budget.steps}  loss {loss:.4f}  {left:.1f} min left", flush=True)
            if late:
                raise OutOfTime(f"{name}: stopped after step {self.step}; the same command goes on from there.")
        self._network.load_state_dict(self._average)
        return self._network.eval().requires_grad_(False)

    def _train_step(self, slices: Slices) -> float:
        b = self.budget
        for group in self._optimizer.param_groups:
            group["lr"] = self._learning_rate()
        rows = torch.randint(len(slices.images), (b.batch,), generator=self._generator).numpy()
        reader = torch.randint(slices.masks.shape[1], (b.batch,), generator=self._generator).numpy()
        image = torch.from_numpy(slices.images[rows]).float()
        mask = torch.from_numpy(slices.masks[rows, reader]).float()[:, None]
        image, mask = vary(image, mask, generator=self._generator, missing=b.missing)
        with torch.autocast("cpu", torch.bfloat16):
            loss = self._loss(image, mask)
        self._optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self._network.parameters(), 1.0)
        self._optimizer.step()
        decay = min(b.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for name, value in self._network.state_dict().items():
                self._average[name].lerp_(value, 1 - decay)
        return float(loss.detach())

    def _loss(self, image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        match self.kind:
            case "plain":
                logits: torch.Tensor = self._network(image, torch.zeros(len(image))).float()
                probability, fit = logits.sigmoid(), functional.binary_cross_entropy_with_logits(logits, mask)
            case "diffusion":
                t = self._timesteps(len(mask))
                kept = self._kept[t].view(-1, 1, 1, 1)
                noise = torch.randn(mask.shape, generator=self._generator)
                noisy = kept.sqrt() * (2 * mask - 1) + (1 - kept).sqrt() * noise
                x0: torch.Tensor = self._network(torch.cat([image, noisy], dim=1), t).float()
                probability, fit = (x0.clamp(-1, 1) + 1) / 2, functional.mse_loss(x0, 2 * mask - 1)
            case _:
                assert_never(self.kind)
        overlap = (2 * (probability * mask).sum() + 1) / (probability.sum() + mask.sum() + 1)
        return fit + self.budget.dice_weight * (1 - overlap)

    def _timesteps(self, count: int) -> torch.Tensor:
        """One in two uniform, one in two from the noisiest fifth, as the shipped checkpoint was trained."""
        uniform, which = (torch.rand(count, generator=self._generator) for _ in range(2))
        place = torch.where(which < 0.5, 1 - _NOISIEST * uniform, uniform)
        return (place * len(self._kept)).long().clamp_(0, len(self._kept) - 1)

    def _learning_rate(self) -> float:
        """Linear warm-up, then a cosine to a tenth."""
        b = self.budget
        if self.step < b.warmup:
            return b.learning_rate * (self.step + 1) / b.warmup
        progress = (self.step - b.warmup) / max(1, b.steps - b.warmup)
        return b.learning_rate * (0.1 + 0.45 * (1 + float(np.cos(np.pi * progress))))

    def _save(self, path: Path) -> None:
        state: dict[str, Any] = {
            "network": self._network.state_dict(),
            "average": self._average,
            "optimizer": self._optimizer.state_dict(),
            "generator": self._generator.get_state(),
            "step": self.step,
        }
        buffer = io.BytesIO()
        torch.save(state, buffer)
        atomic_write(path, lambda file: file.write(buffer.getbuffer()), overwrite=True)

    def _resume(self, path: Path) -> None:
        state = torch.load(path, weights_only=True, map_location="cpu")
        self._network.load_state_dict(state["network"])
        self._average, self.step = state["average"], state["step"]
        self._optimizer.load_state_dict(state["optimizer"])
        self._generator.set_state(state["generator"])


def vary(
    image: torch.Tensor, mask: torch.Tensor, *, generator: torch.Generator, missing: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mirror images, contrast, brightness, noise and missing modalities for a batch; background stays 0.

    Parameters
    ----------
    image : Tensor, (B, I, H, W), float32
        In [0, 1].
    mask : Tensor, (B, M, H, W), float32
        Mirrored with the image.
    generator : torch.Generator
        On the host.
    missing : float
        Probability that a modality is 0; one always stays.
    """
    b, channels = image.shape[:2]

    def uniform(low: float, high: float) -> torch.Tensor:
        return low + (high - low) * torch.rand(b, channels, 1, 1, generator=generator)

    flip = (torch.rand(b, generator=generator) < 0.5).view(-1, 1, 1, 1)
    image, mask = (torch.where(flip, x.flip(-1), x) for x in (image, mask))
    brain = image != 0
    noise = torch.randn(image.shape, generator=generator) * uniform(0, 0.05)
    image = torch.where(brain, image.clamp(min=0) ** uniform(0.7, 1.4) * uniform(0.75, 1.3) + noise, 0.0)
    present = torch.rand(b, channels, generator=generator) >= missing
    present[torch.arange(b), torch.randint(channels, (b,), generator=generator)] = True
    return image * present.view(b, channels, 1, 1), mask
