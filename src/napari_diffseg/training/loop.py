"""The training loop: AdamW, an exponential moving average of the weights, a state that can be taken up again."""

from __future__ import annotations

import io
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from napari_diffseg.imaging.atomic import atomic_write
from napari_diffseg.networks.unet import UNet
from napari_diffseg.training.augment import augment
from napari_diffseg.training.loss import denoising_loss

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari_diffseg.diffusion.schedule import Schedule
    from napari_diffseg.networks.config import UNetConfig
    from napari_diffseg.training.pool import Pool

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """How long and how fast to learn."""

    steps: int
    batch_size: int = 12
    learning_rate: float = 4e-4
    warmup: int = 100
    ema: float = 0.998
    clip_gradient: float = 1.0
    missing: float = 0.1
    seed: int = 0
    save_every: int = 100
    bf16: bool = True


@dataclass(eq=False)
class Trainer:
    """A network in training; everything that the next step depends on is in `state()`.

    Parameters
    ----------
    config : UNetConfig
        The network.
    schedule : Schedule
        Not respaced.
    pool : Pool
        What to train on.
    settings : TrainingSettings
        How.
    """

    config: UNetConfig
    schedule: Schedule
    pool: Pool
    settings: TrainingSettings

    def __post_init__(self) -> None:
        torch.manual_seed(self.settings.seed)  # the only draw from the global generator: the initial weights
        self.network = UNet(self.config)
        self.average = {name: p.detach().clone() for name, p in self.network.state_dict().items()}
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=self.settings.learning_rate, weight_decay=1e-4)
        self.generator = torch.Generator().manual_seed(self.settings.seed)
        self.step = 0

    def state(self) -> dict[str, Any]:
        """Everything that a continued training needs."""
        return {
            "network": self.network.state_dict(),
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "step": self.step,
        }

    def save(self, path: Path) -> None:
        """Write the state; the file is whole at every moment."""
        buffer = io.BytesIO()
        torch.save(self.state(), buffer)
        atomic_write(path, lambda file: file.write(buffer.getbuffer()), overwrite=True)

    def resume(self, path: Path) -> None:
        """Go on where `save` left off."""
        state = torch.load(path, weights_only=True, map_location="cpu")
        self.network.load_state_dict(state["network"])
        self.average = state["average"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"])
        self.step = state["step"]

    def train(self, path: Path, report: Callable[[int, float, float], None], *, until: int | None = None) -> None:
        """Train to the last step, saving on the way.

        Parameters
        ----------
        path : Path
            Where the state goes.
        report : callable
            Called after every step with its number, its loss and its seconds.
        until : int, optional
            Stop after this step instead; the learning rate falls as if the training went on to the last.
        """
        last = self.settings.steps if until is None else min(until, self.settings.steps)
        self.network.train()
        while self.step < last:
            began = time.monotonic()
            loss = self._train_step()
            self.step += 1
            report(self.step, loss, time.monotonic() - began)
            if self.step % self.settings.save_every == 0 or self.step == last:
                self.save(path)

    def _train_step(self) -> float:
        s = self.settings
        for group in self.optimizer.param_groups:
            group["lr"] = self._learning_rate()
        image, mask = augment(*self._batch(), generator=self.generator, missing=s.missing)
        with torch.autocast("cpu", torch.bfloat16, enabled=s.bf16):
            loss = denoising_loss(self.network, image, mask, self.schedule, generator=self.generator)
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), s.clip_gradient)
        self.optimizer.step()
        self._update_average()
        return float(loss.detach())

    def _learning_rate(self) -> float:
        """Linear warm-up, then a cosine to a tenth."""
        s = self.settings
        if self.step < s.warmup:
            return s.learning_rate * (self.step + 1) / s.warmup
        progress = (self.step - s.warmup) / max(1, s.steps - s.warmup)
        cosine = 0.5 * (1 + torch.cos(torch.tensor(progress * torch.pi)).item())
        return s.learning_rate * (0.1 + 0.9 * cosine)

    def _batch(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Slices drawn with replacement, each with the mask of one reader: (B, I, H, W) and (B, 1, H, W) in -1, 1."""
        n, readers = len(self.pool.images), self.pool.masks.shape[1]
        rows = torch.randint(n, (self.settings.batch_size,), generator=self.generator).numpy()
        reader = torch.randint(readers, (self.settings.batch_size,), generator=self.generator).numpy()
        image = torch.from_numpy(self.pool.images[rows]).float()
        mask = torch.from_numpy(self.pool.masks[rows, reader]).float()[:, None] * 2 - 1
        return image, mask

    def _update_average(self) -> None:
        decay = min(self.settings.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for name, value in self.network.state_dict().items():
                self.average[name].lerp_(value, 1 - decay)
