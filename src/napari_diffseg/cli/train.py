"""`napari-diffseg train`."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Group, Parameter

from napari_diffseg.cli.train_job import TrainingJob, submit_training
from napari_diffseg.errors import BadRequest, DiffsegError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_diffseg.errors import Remedy
    from napari_diffseg.training.config import TrainingConfig
    from napari_diffseg.training.run import Outcome
    from napari_diffseg.training.source import CaseSource

_OPTIONS = {
    *(
        "regions",
        "resume",
        "start_from",
        "recipe.modalities",
        "data.channels",
        "data.pick",
        "data.slices",
        "data.held_out",
    ),
    *("optimiser.steps", "optimiser.batch_size", "optimiser.learning_rate"),
}
"""Settings that are options of this verb; the others are set in a file."""

_OF_DATA = {name: f"data.{name}" for name in ("channels", "pick", "resample", "reader_pattern")}
"""Settings that the readers of files know by a shorter name."""

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
    regions: str | None = None,
    channels: str | None = None,
    pick: list[str] | None = None,
    slices: str | None = None,
    held_out: float | None = None,
    phantoms: int | None = None,
    device: str = "auto",
    workers: int = 0,
    stop_after: int | None = None,
    job: Annotated[TrainingJob, Parameter(name="*", group=Group("On a cluster", sort_key=8))] = TrainingJob(),
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
    regions
        Several nested masks at once: brats (of the year that the masks' labels tell), brats2021 or another year,
        decathlon. Others are defined in the settings.
    channels
        What the channels of 4-D files are, in order.
    pick
        Which of several images of one modality to take: a pattern of file names, such as '*_bias*', or an entity of
        BIDS, such as acq-3d; may be given several times.
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
    job.check()

    from napari_diffseg.training.run import train as run_training

    _check_used(
        data, {"channels": channels, "pick": pick, "slices": slices, "held-out": held_out}, {"phantoms": phantoms}
    )
    if job.on:
        said: dict[str, Any] = {
            "data": data,
            "preset": preset,
            "config": config,
            "start_from": start_from,
            "steps": steps,
        }
        said |= {"batch_size": batch_size, "learning_rate": learning_rate, "seed": seed, "modalities": modalities}
        said |= {"regions": regions, "channels": channels, "pick": pick, "slices": slices, "held_out": held_out}
        said |= {"phantoms": phantoms, "device": device, "workers": workers, "stop_after": stop_after}
        return _submit(job, out, said, resume=resume)
    recipe = {"modalities": _names(modalities)}
    optimiser = {"steps": steps, "batch_size": batch_size, "learning_rate": learning_rate}
    cases = {"channels": _names(channels), "pick": pick, "slices": slices, "held_out": held_out, "phantoms": phantoms}
    asked: dict[str, Any] = {"regions": regions, "seed": seed, "start_from": start_from}
    asked |= {"recipe": recipe, "optimiser": optimiser, "data": cases}
    with _options_named():
        settings, source = _source(data, _settings(out, preset, config, _given(asked), resume=resume))
        outcome = run_training(
            out,
            settings,
            source,
            device=device,
            workers=workers,
            resume=resume,
            stop_after=stop_after,
            tell=_say,
        )
    if _speaks():
        _report(outcome, out, settings.optimiser.steps)
    return 0 if outcome.stopped_by is None else 128 + outcome.stopped_by


def _submit(job: TrainingJob, out: Path, said: dict[str, Any], *, resume: bool) -> int:
    """Submit the training as a job; one that is there is resumed only where that is asked for."""
    if (out / "config.toml").exists() and not resume:
        raise BadRequest(f"{out} has a training already (--resume): resume it, or choose another folder.")
    number = submit_training(job, out, said)
    _say(f"job {number} submitted: it goes on after each interruption; its log is {out / f'slurm-{number}.txt'}.")
    sys.stdout.write(f"{number}\n")
    return 0


@contextmanager
def _options_named() -> Iterator[None]:
    """What goes wrong within says what helps in the words of this verb: an option, or a line of a settings file."""
    try:
        yield
    except DiffsegError as err:
        named = list(dict.fromkeys(option for option in map(_option, err.remedies) if option))
        raise type(err)(f"{err} ({' or '.join(named)})" if named else str(err)) from err


def _option(remedy: Remedy) -> str:
    setting = _OF_DATA.get(remedy.setting, remedy.setting)
    section, _, name = setting.rpartition(".")
    if setting in _OPTIONS:
        return f"--{name.replace('_', '-')} {remedy.value}".strip()
    if not section:  # of another verb
        return ""
    return f"[{section}] {name}{' = ' * bool(remedy.value)}{remedy.value} in a --config file"


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
    from napari_diffseg.training.config import ANY_BRATS
    from napari_diffseg.training.config_file import changed, read_config, read_values
    from napari_diffseg.training.presets import preset as named

    values = read_values(config) if config is not None else {}
    name = preset or values.get("preset")
    stored = out / "config.toml"
    base = read_config(stored) if resume and stored.exists() and name is None else named(str(name or "default"))
    merged = changed(base, values | {"preset": base.preset}, where=config.name if config is not None else "Settings")
    if asked.get("regions") == ANY_BRATS and resume and stored.exists():
        asked = asked | {"regions": read_config(stored).regions}  # their year was told when it began
    return changed(merged, asked, where="Options")


def _source(data: str, settings: TrainingConfig) -> tuple[TrainingConfig, CaseSource]:
    """The cases, and the settings with what only the cases tell."""
    from napari_diffseg.training.checks import settled
    from napari_diffseg.training.draw import PhantomSource
    from napari_diffseg.training.folders import FolderSource, find_cases

    if data == PHANTOMS:
        counts, seed = settings.data, settings.seed

        def source_of(config: TrainingConfig) -> CaseSource:
            return PhantomSource(
                config.recipe,
                counts.phantoms,
                counts.held_out_phantoms,
                seed,
                families=counts.families,
                held_out_family=counts.held_out_family,
                scalp_share=counts.scalp_share,
                faint_share=counts.faint_share,
                lookalike_share=counts.lookalike_share,
            )
    else:
        cases = find_cases(
            Path(data),
            modalities=settings.recipe.modalities,
            channels=settings.data.channels,
            pick=settings.data.pick,
        )

        def source_of(config: TrainingConfig) -> CaseSource:
            return FolderSource(cases, config.recipe, config.data, config.seed, root=Path(data))

    settings = settled(settings, source_of(settings), say=_say if _speaks() else _silent)
    return settings, source_of(settings)


def _given(values: dict[str, Any]) -> dict[str, Any]:
    """Without what was not asked for."""
    inner = {name: _given(value) if isinstance(value, dict) else value for name, value in values.items()}
    return {name: value for name, value in inner.items() if value is not None and value != {}}


def _names(text: str | None) -> list[str] | None:
    from napari_diffseg.imaging.names.naming import modalities_named

    return modalities_named(text.split(",")) if text else None


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def _silent(text: str) -> None:
    """What the other processes of a launcher say."""


def _speaks() -> bool:
    """Of the processes of a launcher one does."""
    return os.environ.get("RANK", "0") == "0"
