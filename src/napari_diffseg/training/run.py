"""A whole training: data in, a run folder out; stopped at any moment, taken up again."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from accelerate.utils import gather_object

from napari_diffseg.checkpoint import load_checkpoint
from napari_diffseg.imaging.folder_lock import alone_in
from napari_diffseg.segmenting.device.heap import freed_memory_kept
from napari_diffseg.training.card import Provenance, write_weights
from napari_diffseg.training.checks import check_batch
from napari_diffseg.training.journal import Journal
from napari_diffseg.training.pool import open_pool
from napari_diffseg.training.prepare import BEST, LAST, POOL, START, STATE, check_resumable, prepare
from napari_diffseg.training.state import damaged_state, load_state, save_state
from napari_diffseg.training.stopping import deterministic, stop_between_steps
from napari_diffseg.training.trainer import StepReport, Trainer, make_accelerator
from napari_diffseg.training.validate import Figures, average_checkpoint, summary, validate_case

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from signal import Signals

    from accelerate import Accelerator

    from napari_diffseg.training.config import TrainingConfig
    from napari_diffseg.training.source import CaseSource


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a call of `train` ended.

    Attributes
    ----------
    step : int
        Steps done in all.
    finished : bool
        Whether nothing is left to do; otherwise it was asked to stop and can be resumed.
    best_step : int
        Step of the best validation, -1 without one.
    best_dice : float
        Its Dice.
    stopped_by : Signals, optional
        The interrupt or SIGTERM that ended it before its time.
    """

    step: int
    finished: bool
    best_step: int
    best_dice: float
    stopped_by: Signals | None = None


def train(
    folder: Path,
    config: TrainingConfig,
    source: CaseSource,
    *,
    device: str = "auto",
    workers: int = 0,
    resume: bool = False,
    stop_after: int | None = None,
    tell: Callable[[str], None],
) -> Outcome:
    """Train, or go on training, in a run folder.

    The folder gets config.toml, start.safetensors (weights to begin with, if any), pool/ (the encoded slices), log.csv,
    events/ (TensorBoard), state.pt, best.safetensors (of the best validation) and last.safetensors. Each is whole at
    every moment, so that a process that is killed loses the steps since the last saved state and nothing else. A first
    interrupt or SIGTERM stops after the step, with the state saved.

    Parameters
    ----------
    folder : Path
        Of the run.
    config : TrainingConfig
        All settings.
    source : CaseSource
        The cases.
    device : str
        As a request names it; under a launcher each process takes its own, and only "cpu" changes anything.
    workers : int
        Processes that encode cases and prepare examples; 0: this one does both.
    resume : bool
        Go on in a folder that has a run.
    stop_after : int, optional
        Stop after this step of the training; the learning rate is as if it went on to the last.
    tell : callable
        Gets lines for people.

    Raises
    ------
    OutputExists
        If something was learned in the folder and resuming was not asked for.
    BadRequest
        If there is nothing to resume, the settings or cases are others than before, or a value cannot be.
    DiffsegError
        If cases cannot be used, there is no room, or a step fails; each says what to do.
    """
    accelerator = make_accelerator(config, device=device)
    check_batch(config, accelerator.num_processes)
    main = accelerator.is_main_process
    say = tell if main else _silent
    with ExitStack() as stack:
        if main:
            check_resumable(folder, resume=resume)
            stack.enter_context(alone_in(folder))
            prepare(folder, config, source, workers=workers, resume=resume, say=say)
        accelerator.wait_for_everyone()
        stack.enter_context(deterministic(enabled=config.deterministic))
        stack.enter_context(freed_memory_kept())
        run = _Run(folder, config, source, accelerator, workers, say)
        journal = (
            Journal(folder, done=run.trainer.step, total=config.optimiser.steps, regions=config.recipe.labels)
            if main
            else None
        )
        if journal is not None:
            stack.enter_context(journal)
        last = min(stop_after or config.optimiser.steps, config.optimiser.steps)
        outcome = run.until(last, journal)
    accelerator.wait_for_everyone()  # a launcher ends all processes with the first that ends
    accelerator.end_training()
    return outcome


def _silent(text: str) -> None:
    """What the other processes say."""


class _Run:
    """A trainer with its folder."""

    def __init__(
        self,
        folder: Path,
        config: TrainingConfig,
        source: CaseSource,
        accelerator: Accelerator,
        workers: int,
        say: Callable[[str], None],
    ) -> None:
        self._folder, self._config, self._source, self._accelerator = folder, config, source, accelerator
        self._say = say
        pool, self._split = open_pool(folder / POOL)
        start = load_checkpoint(folder / START) if config.start_from is not None else None
        self._told = Provenance(config, source.describe(self._split), len(pool), self._split, start)
        self.trainer = Trainer(config, pool, accelerator, workers)
        if (folder / STATE).exists():
            self._go_on(folder / STATE)
            say(f"Going on after step {self.trainer.step}.")
        elif start is not None:
            self.trainer.begin_with(start.state)
            say(f"Beginning with the weights of {config.start_from}.")

    def _go_on(self, path: Path) -> None:
        state = load_state(path)
        try:
            self.trainer.resume(state)
        except (RuntimeError, ValueError, KeyError, TypeError, AttributeError, IndexError) as err:
            raise damaged_state(path) from err

    def until(self, last: int, journal: Journal | None) -> Outcome:
        """Train to a step, or until a signal comes; leaves state and weights behind."""
        trainer, saved, stop = self.trainer, self.trainer.step, None
        recent: list[StepReport] = []
        with stop_between_steps(self._accelerator) as stopping:
            for report in trainer.steps(last):
                if journal is not None:
                    journal.advance()
                recent.append(report)
                stop = stopping()
                if self._is_due(report.step, self._config.log_every):
                    _log(journal, recent)
                if self._is_due(report.step, self._config.validation.every):
                    self._validate(journal)
                if stop or self._is_due(report.step, self._config.save_every):
                    self._save()
                    saved = report.step
                if stop:
                    break
        if saved != trainer.step:
            self._save()
        self._write_last()
        finished = trainer.step >= self._config.optimiser.steps
        return Outcome(trainer.step, finished, trainer.best_step, trainer.best_dice, None if finished else stop)

    def _is_due(self, step: int, every: int) -> bool:
        return step % every == 0 or step == self._config.optimiser.steps

    def _save(self) -> None:
        if self._accelerator.is_main_process:
            save_state(self._folder / STATE, self.trainer.state())

    def _validate(self, journal: Journal | None) -> None:
        """Each process takes its share of the cases; the best weights are kept."""
        accelerator, settings = self._accelerator, self._config.validation
        chosen = self._split.held_out[: settings.cases]
        if not chosen:
            return
        # a request knows no cpu:0, which a launcher's processes have, and takes cuda without a number for the first
        kind = accelerator.device.type
        device = f"cuda:{torch.cuda.current_device()}" if kind == "cuda" else kind
        network = self._config.network.unet_config(self._config.recipe)
        checkpoint = average_checkpoint(self.trainer.average, self._config.recipe, network)
        mine = [
            validate_case(self._source.read(case), checkpoint, settings, device=device)
            for case in chosen[accelerator.process_index :: accelerator.num_processes]
        ]
        figures = summary(gather_object(mine), self._config.recipe.labels)
        step = self.trainer.step
        self.trainer.validated = {"step": step, **figures.columns()}
        if journal is not None:
            journal.row(step, figures.columns())
        if figures.dice > self.trainer.best_dice:
            self.trainer.best_dice, self.trainer.best_step = figures.dice, step
            self._write(BEST, figures)

    def _write_last(self) -> None:
        figures = {name: value for name, value in self.trainer.validated.items() if name != "step"}
        current = self.trainer.validated.get("step") == self.trainer.step
        self._write(LAST, Figures.from_columns(figures) if current else None)

    def _write(self, name: str, figures: Figures | None) -> None:
        if self._accelerator.is_main_process:
            step = self.trainer.step
            write_weights(self._folder / name, self.trainer.average, self._told, step=step, figures=figures)


def _log(journal: Journal | None, recent: list[StepReport]) -> None:
    """A row of the steps since the last one, which are then forgotten."""
    if journal is not None:
        n, last = len(recent), recent[-1]
        values = {
            "loss": sum(r.loss for r in recent) / n,
            "gradient": sum(r.gradient for r in recent) / n,
            "learning_rate": last.learning_rate,
            "seconds_a_step": sum(r.seconds for r in recent) / n,
        }
        journal.row(last.step, values)
    recent.clear()
