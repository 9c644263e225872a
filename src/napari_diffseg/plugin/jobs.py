"""What the worker thread does: read a case, load a checkpoint, sample, export. No Qt, no napari, no exception out."""

from __future__ import annotations

import logging
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

from napari_diffseg.errors import BadRequest, DiffsegError, OutputExists
from napari_diffseg.plugin.mailbox import Ended, Ending, Mailbox, Saved, Told

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from napari_diffseg.events import SegmentRequest
    from napari_diffseg.imaging.case import Case
    from napari_diffseg.plugin.engine import Engine
    from napari_diffseg.plugin.frame import Frame
    from napari_diffseg.plugin.reader import LayerData

    Job = Callable[[Mailbox, threading.Event], Any]

logger = logging.getLogger(__name__)

_GLANCE_S = 0.05
"""How often a resting job looks whether it is to stop."""


class LoadEngine(Protocol):
    """What loads checkpoints; it may keep what it has loaded."""

    def __call__(self, text: str, overrides: Mapping[str, Any], /) -> Engine:
        """The engine of a checkpoint's path, or of `demo`, with what the user says of it against its recipe."""
        ...

    def forget(self) -> None:
        """Free what is kept."""
        ...


class Stopped(Exception):
    """The user asked the job to stop, and it does."""


@dataclass(frozen=True, eq=False)
class RunPlan:
    """Everything a run needs, frozen when it starts: what happens to layers and controls later does not reach it.

    Attributes
    ----------
    case : Case
        The images, as they were in the layers.
    frame : Frame
        How the case's grid lies on the screen.
    checkpoint : str
        Path, or `demo`.
    overrides : mapping
        What the user says of the checkpoint against its recipe.
    request : SegmentRequest
        The settings, with the slice on the screen as its focus.
    folder : Path
        Where results are kept.
    resume : bool
        Whether members that are in the folder are taken over and only the others sampled.
    """

    case: Case
    frame: Frame
    checkpoint: str
    overrides: Mapping[str, Any]
    request: SegmentRequest
    folder: Path
    resume: bool = False


def run_guarded(job: Job, mailbox: Mailbox, stop: threading.Event) -> None:
    """Do a job; however it ends, its last message is `Ended`, and nothing is raised."""
    try:
        ended = Ended(Ending.DONE, result=job(mailbox, stop))
    except Stopped:
        ended = Ended(Ending.CANCELLED)
    except DiffsegError as err:
        logger.info("The job failed.", exc_info=err)
        ended = Ended(Ending.FAILED, str(err), error=type(err).__name__)
    except Exception as err:  # the thread's boundary: a raw one would vanish
        logger.exception("The job failed unexpectedly.")
        ended = Ended(Ending.FAILED, unexpected(err), error=type(err).__name__)
    mailbox.put(ended)


def unexpected(err: Exception) -> str:
    """A sentence for an exception that nobody foresaw."""
    first = (str(err).splitlines() or [""])[0]
    reason = f"{type(err).__name__}: {first}" if first else type(err).__name__
    return f"Unexpected error ({reason}): what is finished is kept; please report it with the log."


def read_job(paths: Sequence[str]) -> Job:
    """Read a folder or files as layers; the result is a list of layer data."""

    def job(mailbox: Mailbox, _stop: threading.Event) -> list[LayerData]:
        from napari_diffseg.plugin.reader import read_layers

        mailbox.put(Told("Reading images…"))
        return read_layers(list(paths))

    return job


def load_job(load_engine: LoadEngine, checkpoint: str, overrides: Mapping[str, Any]) -> Job:
    """Load a checkpoint; the result is its `Engine`."""

    def job(mailbox: Mailbox, _stop: threading.Event) -> Engine:
        mailbox.put(Told("Loading PyTorch and the checkpoint…"))
        return load_engine(checkpoint, overrides)

    return job


def segment_job(load_engine: LoadEngine, plan: RunPlan, going: threading.Event) -> Job:
    """Sample an ensemble. Every event is on disk before it is in the mailbox; a stop is answered within one step.

    While `going` is not set the job rests between two steps, and still answers a stop.
    """

    def job(mailbox: Mailbox, stop: threading.Event) -> None:
        from napari_diffseg.segmenting.keep import keep_run
        from napari_diffseg.segmenting.run_folder import RunFolder

        mailbox.put(Told("Preparing…"))
        engine = load_engine(plan.checkpoint, plan.overrides)
        _check_modalities(plan, engine)
        folder = RunFolder(plan.folder, plan.case, engine.checkpoint, plan.request)
        mailbox.put(Saved(plan.folder))
        events = keep_run(engine.segmenter, folder, resume=plan.resume)
        try:
            for event in events:
                mailbox.put(event)
                while not (going.is_set() or stop.is_set()):
                    going.wait(_GLANCE_S)
                if stop.is_set():
                    raise Stopped
        finally:
            events.close()

    return job


def _check_modalities(plan: RunPlan, engine: Engine) -> None:
    wanted = engine.checkpoint.recipe.modalities
    if tuple(plan.case.volumes) != wanted:
        raise BadRequest(
            f"The checkpoint now takes {', '.join(wanted)}, not {', '.join(plan.case.volumes)}: load it again."
        )


def export_job(source: Path, target: Path, *, overwrite: bool) -> Job:
    """Copy a run's results; the result is the folder they are in now."""

    def job(mailbox: Mailbox, stop: threading.Event) -> Path:
        from napari_diffseg.imaging.atomic import atomic_write

        files = sorted(p for p in source.rglob("*") if p.is_file() and not p.name.startswith("."))
        if not overwrite and target.exists() and any(target.iterdir()):
            raise OutputExists(f"{target} holds files already: choose another folder, or allow them to be replaced.")
        for n, path in enumerate(files, start=1):
            if stop.is_set():
                raise Stopped
            mailbox.put(Told(f"Exporting file {n} of {len(files)}…"))
            place = target / path.relative_to(source)
            _make_folder(place.parent)
            atomic_write(place, _copier(path), overwrite=overwrite)
        return target

    return job


def _copier(path: Path) -> Callable[[BinaryIO], None]:
    def copy(out: BinaryIO) -> None:
        with path.open("rb") as data:
            shutil.copyfileobj(data, out)

    return copy


def _make_folder(folder: Path) -> None:
    from napari_diffseg.errors import OutputFailed

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise OutputFailed(f"{folder} cannot be made: {err.strerror}: choose another folder.") from err
