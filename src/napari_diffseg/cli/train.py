"""`napari-diffseg train`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_diffseg.errors import BadRequest

if TYPE_CHECKING:
    from napari_diffseg.training.config import TrainingConfig
    from napari_diffseg.training.run import Outcome
    from napari_diffseg.training.source import CaseSource

PHANTOMS = "phantoms"
"""The word for --data that means synthetic brains."""


def train(
    *,
    data: str,
    out: Path,
    preset: str | None = None,
    config: Path | None = None,
    start_from: str | None = None,
    resume: bool = False,
    steps: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    seed: int | None = None,
    modalities: str | None = None,
    channels: str | None = None,
    slices: str | None = None,
    held_out: float | None = None,
    phantoms: int | None = None,
    device: str = "auto",
    workers: int = 0,
    stop_after: int | None = None,
) -> int:
    """Train a checkpoint on cases with masks, or on phantoms; leaves best.safetensors and last.safetensors.

    Several GPUs or machines: torchrun --nproc-per-node 4 -m napari_diffseg train ...

    Parameters
    ----------
    data
        A folder with cases at any depth, or the word phantoms.
    out
        Folder of the run.
    preset
        default: good in few steps. paper: Wolleb et al. 2022. tiny: a trial of a minute.
    config
        TOML file of settings that replace the preset's; the run's config.toml shows all there are.
    start_from
        Checkpoint whose weights the training begins with, to fine-tune it: a file, or demo.
    resume
        Go on with the run in --out.
    steps
        Steps of the whole training.
    batch_size
        Slices a step, over all processes.
    learning_rate
        Largest learning rate.
    seed
        Of the weights, all draws, the split, and the first phantom.
    modalities
        What the network sees, in order, such as t1,flair.
    channels
        What the channels of 4-D files are, in order.
    slices
        Half-open range A:B of source slices to train on; : for all.
    held_out
        Share of the patients held out for validation.
    phantoms
        How many phantoms to draw and train on.
    device
        auto, cpu, cuda, cuda:1 or mps.
    workers
        Processes that encode cases and prepare slices, for each that trains.
    stop_after
        Stop after this step; --resume goes on.
    """
    from napari_diffseg.extras import check_extra

    check_extra("training")

    from napari_diffseg.training.run import train as run_training

    _check_used(data, {"channels": channels, "slices": slices, "held-out": held_out}, {"phantoms": phantoms})
    recipe = {"modalities": _names(modalities)}
    optimiser = {"steps": steps, "batch_size": batch_size, "learning_rate": learning_rate}
    cases = {"channels": _names(channels), "slices": slices, "held_out": held_out, "phantoms": phantoms}
    asked = {"seed": seed, "start_from": start_from, "recipe": recipe, "optimiser": optimiser, "data": cases}
    settings = _settings(out, preset, config, _given(asked), resume=resume)
    outcome = run_training(
        out,
        settings,
        _source(data, settings),
        device=device,
        workers=workers,
        resume=resume,
        stop_after=stop_after,
        tell=_say,
    )
    if os.environ.get("RANK", "0") == "0":  # of the processes of a launcher, one speaks
        _report(outcome, out, settings.optimiser.steps)
    return 0 if outcome.stopped_by is None else 128 + outcome.stopped_by


def _check_used(data: str, of_folders: dict[str, Any], of_phantoms: dict[str, Any]) -> None:
    """Refuse options that the data have no use for, rather than ignore them."""
    idle = of_folders if data == PHANTOMS else of_phantoms
    asked = [f"--{name}" for name, value in idle.items() if value is not None]
    if asked:
        raise BadRequest(f"{', '.join(asked)} would do nothing with --data {data}: leave it out.")


def _report(outcome: Outcome, out: Path, steps: int) -> None:
    if outcome.best_step < 0:
        _say("No case is held out, or no validation was due, so there is no best.safetensors.")
    else:
        _say(f"best: step {outcome.best_step}, Dice {outcome.best_dice:.3f}")
    if not outcome.finished:
        _say(f"stopped after step {outcome.step} of {steps}: --resume goes on.")
    sys.stdout.write(f"{out / 'last.safetensors'}\n")


def _settings(
    out: Path, preset: str | None, config: Path | None, asked: dict[str, Any], *, resume: bool
) -> TrainingConfig:
    """The preset's (or, resuming, the run's), then the file's, then the options'."""
    from napari_diffseg.training.config_file import changed, read_config, read_values
    from napari_diffseg.training.presets import preset as named

    values = read_values(config) if config is not None else {}
    name = preset or values.get("preset")
    stored = out / "config.toml"
    base = read_config(stored) if resume and stored.exists() and name is None else named(str(name or "default"))
    merged = changed(base, values | {"preset": base.preset}, where=config.name if config is not None else "Settings")
    return changed(merged, asked, where="Options")


def _source(data: str, settings: TrainingConfig) -> CaseSource:
    from napari_diffseg.training.draw import PhantomSource
    from napari_diffseg.training.folders import FolderSource, find_cases

    if data == PHANTOMS:
        counts = settings.data
        return PhantomSource(settings.recipe, counts.phantoms, counts.held_out_phantoms, settings.seed)
    cases = find_cases(Path(data), modalities=settings.recipe.modalities, channels=settings.data.channels)
    return FolderSource(cases, settings.recipe, settings.data, settings.seed)


def _given(values: dict[str, Any]) -> dict[str, Any]:
    """Without what was not asked for."""
    inner = {name: _given(value) if isinstance(value, dict) else value for name, value in values.items()}
    return {name: value for name, value in inner.items() if value is not None and value != {}}


def _names(text: str | None) -> list[str] | None:
    from napari_diffseg.imaging.naming import modalities_named

    return modalities_named(text.split(",")) if text else None


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
