"""A run's folder made ready: settings and encoded slices in it, and nothing that was learned put at risk."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Final

from napari_diffseg.errors import BadRequest, OutputExists, Remedy
from napari_diffseg.training.checks import check_labels, check_network
from napari_diffseg.training.config_file import first_difference, read_config, write_config
from napari_diffseg.training.pool import build_pool, discard_pool, holds, open_pool
from napari_diffseg.training.reading import check_cases
from napari_diffseg.training.start import keep_start

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari_diffseg.training.config import TrainingConfig
    from napari_diffseg.training.source import CaseSource
    from napari_diffseg.training.split import Split

CONFIG: Final = "config.toml"
POOL: Final = "pool"
STATE: Final = "state.pt"
START: Final = "start.safetensors"
BEST: Final = "best.safetensors"
LAST: Final = "last.safetensors"

_NAMED = 5


def check_resumable(folder: Path, *, resume: bool) -> None:
    """Refuse to resume where there is nothing, before the folder is touched.

    Raises
    ------
    BadRequest
        If so.
    """
    if resume and not (folder / CONFIG).exists():
        raise BadRequest(f"{folder} has no training to resume: begin one there, or name the folder of one.")


def prepare(
    folder: Path,
    config: TrainingConfig,
    source: CaseSource,
    *,
    workers: int = 0,
    resume: bool = False,
    say: Callable[[str], None],
) -> None:
    """Put settings and encoded slices into a run's folder, unless they are there.

    A folder in which nothing has been learned yet, such as one whose cases could not be read, is begun anew with
    whatever settings come next.

    Parameters
    ----------
    folder : Path
        Of the run.
    config : TrainingConfig
        All settings.
    source : CaseSource
        The cases.
    workers : int
        Processes that encode; 0: this one does.
    resume : bool
        Go on in a folder that has a run, see `check_resumable`.
    say : callable
        Gets lines for people.

    Raises
    ------
    OutputExists
        If something was learned in the folder, and resuming was not asked for.
    BadRequest
        If settings or cases are others than what was learned with.
    DiffsegError
        If cases cannot be used, or there is no room.
    """
    begun = (folder / CONFIG).exists() and any((folder / name).exists() for name in (STATE, BEST, LAST))
    if begun and not resume:
        raise OutputExists(f"{folder} has a training already: resume it, or choose another folder.", Remedy("resume"))
    difference = first_difference(read_config(folder / CONFIG), config) if resume else None
    if begun and difference:
        raise _other_settings(folder, difference)
    split, key = source.split(), encoding_key(config)
    if not begun:
        check_network(config)
        is_encoded = holds(folder / POOL, source, split, key=key)
        if not (resume and difference is None and is_encoded):
            _begin(folder, config, keep_pool=is_encoded)
        if not is_encoded:
            check_cases(source, split)
            check_labels(config, source, split)
    _encode(folder, source, split, key, workers, say)


def _other_settings(folder: Path, difference: str) -> BadRequest:
    if difference.startswith("optimiser.steps "):
        return BadRequest(
            f"{folder} was begun with another number of steps ({difference}), which its learning rate depends on, so a "
            f"longer or shorter training is another one: begin it in another folder, if you like with these weights.",
            Remedy("start_from", str(folder / LAST)),
        )
    return BadRequest(f"{folder} was trained with other settings ({difference}): resume without changing any.")


def encoding_key(config: TrainingConfig) -> str:
    """SHA-256 of the settings that decide how a case is encoded."""
    decisive = {"recipe": config.recipe.model_dump(mode="json"), "data": config.data.model_dump(mode="json")}
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


def _begin(folder: Path, config: TrainingConfig, *, keep_pool: bool) -> None:
    """Settings, and weights to begin with; in this order, so that those which lie in a folder always fit each other."""
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / CONFIG).exists():
        if not keep_pool:
            discard_pool(folder / POOL)
        (folder / CONFIG).unlink()
    if config.start_from is not None:
        keep_start(folder / START, config)
    write_config(folder / CONFIG, config)


def _encode(folder: Path, source: CaseSource, split: Split, key: str, workers: int, say: Callable[[str], None]) -> None:
    """The pool, of these very cases; who of them is held out in one that is there stays so."""
    if not (folder / POOL).exists():
        count, held = len(split.train), len(split.held_out)
        say(f"Encoding {count} case{'s' * (count > 1)}; {held} {'is' if held == 1 else 'are'} held out.")
        step = max(1, len(split.cases) // 10)

        def told(done: int, total: int) -> None:
            if done % step == 0 or done == total:
                say(f"encoded {done} of {total} cases")

        without = build_pool(folder / POOL, source, split, key=key, workers=workers, told=told)
        if without:
            listed = ", ".join(without[:_NAMED]) + (
                f" and {len(without) - _NAMED} more" if len(without) > _NAMED else ""
            )
            say(f"Nothing is learned of {listed}: none of the slices that are allowed has brain in it.")
    elif open_pool(folder / POOL)[1].cases != split.cases:
        raise BadRequest(f"{folder} was trained on other cases: resume with the data that it began with.")
