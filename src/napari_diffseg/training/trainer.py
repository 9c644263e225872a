"""The loop: what a step does, on one process or on many."""

from __future__ import annotations

import math
import os
import time
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import InitProcessGroupKwargs
from torch.utils.data import DataLoader

from napari_diffseg.errors import Remedy, RunFailed
from napari_diffseg.networks.out_of_memory import is_out_of_memory
from napari_diffseg.networks.unet import UNet
from napari_diffseg.segmenting.device.choose_device import resolve_device
from napari_diffseg.training.examples import BatchNumbers, Examples
from napari_diffseg.training.loss import Example, TrainingLoss

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from napari_diffseg.training.config import OptimiserSettings, TrainingConfig
    from napari_diffseg.training.pool import Pool
    from napari_diffseg.training.state import TrainingState

_LONGEST_WAIT = timedelta(hours=12)  # of other processes, while one encodes the cases


@dataclass(frozen=True, slots=True)
class StepReport:
    """A finished step: its number (from 1), its mean loss, its gradient's norm before clipping, rate and seconds."""

    step: int
    loss: float
    gradient: float
    learning_rate: float
    seconds: float


def make_accelerator(config: TrainingConfig, *, device: str) -> Accelerator:
    """What knows the processes, devices and precision; a launcher (torchrun, accelerate launch) sets up the first two.

    Parameters
    ----------
    config : TrainingConfig
        Precision and accumulation.
    device : str
        As a request names it. Under a launcher each process takes the GPU of its number, or none with "cpu".

    Raises
    ------
    BadRequest
        If there is no such device.
    """
    if device != "auto":
        chosen = resolve_device(device)
        if chosen.type == "cuda" and "LOCAL_RANK" not in os.environ:
            torch.cuda.set_device(chosen)
    # It keeps its first precision and device for the whole process; another training in it may want others.
    AcceleratorState._reset_state(reset_partial_state=not torch.distributed.is_initialized())  # noqa: SLF001
    return Accelerator(
        cpu=device == "cpu",
        mixed_precision="bf16" if config.optimiser.precision == "bf16" else "no",
        gradient_accumulation_steps=config.optimiser.accumulate,
        kwargs_handlers=[InitProcessGroupKwargs(timeout=_LONGEST_WAIT)],
    )


@dataclass(eq=False)
class Trainer:
    """A network in training.

    Parameters
    ----------
    config : TrainingConfig
        How.
    pool : Pool
        What to train on.
    accelerator : Accelerator
        Where.
    workers : int
        Processes that prepare examples, for each that trains; 0: it does so itself.
    """

    config: TrainingConfig
    pool: Pool
    accelerator: Accelerator
    workers: int = 0
    step: int = field(init=False, default=0)
    best_dice: float = field(init=False, default=-1.0)
    best_step: int = field(init=False, default=-1)
    validated: dict[str, float] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        settings = self.config.optimiser
        torch.manual_seed(self.config.seed)  # the initial weights
        recipe = self.config.recipe
        network = UNet(self.config.network.unet_config(recipe))
        optimizer = torch.optim.AdamW(
            network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.model, self.optimizer = self.accelerator.prepare(network, optimizer)
        self.network: UNet = self.accelerator.unwrap_model(self.model, keep_fp32_wrapper=True)
        self.average = {name: p.detach().clone() for name, p in self.network.state_dict().items()}
        self._loss = TrainingLoss(recipe, recipe.noise_schedule(), self.config.loss)

    def state(self) -> TrainingState:
        """All that a continued training needs."""
        return {
            "network": self.network.state_dict(),
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "best_dice": self.best_dice,
            "best_step": self.best_step,
            "validated": self.validated,
        }

    def begin_with(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Replace the drawn weights, and their average, by these; a fresh optimizer goes on from them."""
        self.network.load_state_dict(weights)
        for name, value in weights.items():
            self.average[name].copy_(value)

    def resume(self, state: TrainingState) -> None:
        """Go on where a state was taken."""
        self.network.load_state_dict(state["network"])
        for name, value in state["average"].items():
            self.average[name].copy_(value)
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]
        self.best_dice, self.best_step = state["best_dice"], state["best_step"]
        self.validated = state["validated"]

    def steps(self, last: int) -> Iterator[StepReport]:
        """Train up to step `last`, one step at a time; closing the iterator stops between two.

        Raises
        ------
        RunFailed
            If a gradient is not finite, or memory runs out; what was saved is intact.
        """
        batches = self._batches(last)
        while self.step < last:
            began = time.monotonic()
            rate = learning_rate(self.step, self.config.optimiser)
            try:
                loss, gradient = self._step(batches, rate)
            except (RuntimeError, MemoryError) as err:
                if not is_out_of_memory(err):
                    raise
                place = ", in another folder" if self.step else ""
                raise RunFailed(
                    f"Step {self.step + 1}: memory ran out: take a step in more parts, or a smaller batch{place}.",
                    Remedy("optimiser.accumulate"),
                    Remedy("optimiser.batch_size"),
                ) from err
            self.step += 1
            yield StepReport(self.step, loss, gradient, rate, time.monotonic() - began)

    def _batches(self, last: int) -> Iterator[Example]:
        settings, accelerator = self.config.optimiser, self.accelerator
        each = settings.batch_size // (settings.accumulate * accelerator.num_processes)
        numbers = BatchNumbers(
            self.step, last, each, settings.accumulate, accelerator.process_index, accelerator.num_processes
        )
        loader = DataLoader(
            Examples(self.pool, self.config),
            batch_sampler=numbers,
            num_workers=self.workers,
            pin_memory=accelerator.device.type == "cuda",
            generator=torch.Generator(),  # it draws a seed for its workers, which must not come from the global one
        )
        return iter(loader)

    def _step(self, batches: Iterator[Example], rate: float) -> tuple[float, float]:
        """The mean loss of a step, and the norm of its gradient, over all parts and processes."""
        settings, accelerator = self.config.optimiser, self.accelerator
        self.model.train()
        torch.manual_seed(self.config.seed + self.step)  # dropout, the only draw from the global generator
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        total = torch.zeros((), device=accelerator.device)
        norm = torch.zeros((), device=accelerator.device)
        for _ in range(settings.accumulate):
            batch = next(batches)
            with accelerator.accumulate(self.model):
                loss = self._loss(self.model, self._on_device(batch))
                accelerator.backward(loss)
                total += loss.detach() / settings.accumulate
                if accelerator.sync_gradients:
                    norm = accelerator.clip_grad_norm_(self.model.parameters(), settings.clip_gradient)
                    self._check_finite(float(norm))
                self.optimizer.step()
                self.optimizer.zero_grad()
        self._update_average()
        return float(accelerator.reduce(total, "mean")), float(norm)

    def _on_device(self, batch: Example) -> Example:
        image, mask, timestep, noise, known = (
            batch[name].to(self.accelerator.device, non_blocking=True)
            for name in ("image", "mask", "timestep", "noise", "known")
        )
        return {"image": image, "mask": mask, "timestep": timestep, "noise": noise, "known": known}

    def _check_finite(self, norm: float) -> None:
        if not math.isfinite(norm):
            raise RunFailed(
                f"Step {self.step + 1}: the gradient is not finite: start again with a lower "
                "learning rate or in single precision; the last saved state and weights are intact.",
                Remedy("optimiser.learning_rate"),
                Remedy("optimiser.precision", "fp32"),
            )

    def _update_average(self) -> None:
        decay = min(self.config.optimiser.ema, (1 + self.step) / (10 + self.step))  # young averages forget faster
        with torch.no_grad():
            for name, value in self.network.state_dict().items():
                self.average[name].lerp_(value, 1 - decay)


def learning_rate(step: int, settings: OptimiserSettings) -> float:
    """The rate of a step, counted from 0: a linear warm-up, then a cosine to `final_rate` of it at the end."""
    if step < settings.warmup:
        return settings.learning_rate * (step + 1) / settings.warmup
    progress = (step - settings.warmup) / max(1, settings.steps - settings.warmup)
    cosine = 0.5 * (1 + math.cos(progress * math.pi))
    return settings.learning_rate * (settings.final_rate + (1 - settings.final_rate) * cosine)
