"""What the worker thread does: read a case, load a checkpoint, sample, export. No Qt, no napari, no exception out."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from napari_diffseg.errors import BadRequest, DiffsegError
from napari_diffseg.events import Finished, Sampled, Started, Stepped, make_request
from napari_diffseg.plugin.background.job import Stopped
from napari_diffseg.plugin.background.latest_only import raise_if
from napari_diffseg.plugin.background.mailbox import LayerReady, Mailbox, StatusMessage, Timed
from napari_diffseg.plugin.background.stopwatch import Stopwatch

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from napari_diffseg.events import SamplingEvent
    from napari_diffseg.plugin.background.job import Job
    from napari_diffseg.plugin.grid.layer_data import LayerData
    from napari_diffseg.plugin.session.case_folder import CaseFolder
    from napari_diffseg.plugin.session.engine import Engine
    from napari_diffseg.plugin.session.run_plan import RunPlan
    from napari_diffseg.reporting import ReportChoice
    from napari_diffseg.runs.edited_mask import EditedMask
    from napari_diffseg.runs.export import ExportChoice

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


@runtime_checkable
class Watched(Protocol):
    """What loads engines on other computers, and says what is going on while it waits for them."""

    def watch(self, check: Callable[[], None], told: Callable[[str], None]) -> None:
        """Of the job that goes on: call `check` while something is waited for, which may raise; tell what goes on."""
        ...


def load(
    load_engine: LoadEngine, text: str, overrides: Mapping[str, Any], mailbox: Mailbox, stop: threading.Event
) -> Engine:
    """Load an engine for a job, which hears what goes on; a stop is answered while another computer is waited for."""
    if isinstance(load_engine, Watched):
        load_engine.watch(lambda: raise_if(stop), lambda words: mailbox.put(StatusMessage(words)))
    return load_engine(text, overrides)


@dataclass(eq=False)
class RunControl:
    """Pauses a run, and turns it to another slice, while it goes on in another thread."""

    going: threading.Event = field(default_factory=threading.Event)
    """Set unless the run is paused."""
    focus: int | None = None
    """The source slice on the screen, once it has changed."""

    def __post_init__(self) -> None:
        self.going.set()

    def focus_now(self) -> int | None:
        """The slice to go on with."""
        return self.focus


def read_job(paths: Sequence[str], *, modalities: Sequence[str]) -> Job:
    """Read a folder or files; once all are read, each is brought as a layer.

    Where it is a folder of several cases, the result is a `CaseFolder` of them, and no image is read.
    """

    def job(mailbox: Mailbox, stop: threading.Event) -> CaseFolder | None:
        from napari_diffseg.plugin.files.reader import read_layers
        from napari_diffseg.plugin.files.what_is_dropped import cases_of_folder, check_is_case
        from napari_diffseg.plugin.session.case_folder import CaseFolder, watched

        mailbox.put(StatusMessage("Reading images…"))
        if cases := cases_of_folder(paths, modalities=modalities, on_folder=watched(mailbox, stop)):
            return CaseFolder.of(Path(paths[0]), cases)
        check_is_case(paths)
        bring(read_layers(list(paths)), mailbox)
        return None

    return job


def bring(layers: Sequence[LayerData], mailbox: Mailbox, *, unless_open: bool = False) -> None:
    """Make layers, here rather than in the window's thread, which the first of a kind would keep for half a second.

    All are made before the first is brought, so that where one cannot be made none comes.
    """
    from napari.layers import Layer

    made = [Layer.create(*data) for data in layers]
    for n, layer in enumerate(made, start=1):
        mailbox.put(StatusMessage(f"Showing {n} of {len(made)} images…"))
        mailbox.put(LayerReady(layer, unless_open))


def load_job(
    load_engine: LoadEngine, checkpoint: str, overrides: Mapping[str, Any], *, values: Mapping[str, object]
) -> Job:
    """Load a checkpoint, and time it with the settings `values`; the result is its `Engine`."""
    settings = dict(values)

    def job(mailbox: Mailbox, stop: threading.Event) -> Engine:
        mailbox.put(StatusMessage("Loading PyTorch and the checkpoint…"))
        engine = load(load_engine, checkpoint, overrides, mailbox, stop)
        if engine.calibrate is not None:
            mailbox.put(StatusMessage("Measuring its speed…"))
            try:
                request = make_request(settings)
                mailbox.put(Timed(checkpoint, request, engine.calibrate(request), sampling=False))
            except DiffsegError as err:  # a run with these settings says what is wrong with them
                logger.info("The speed could not be measured.", exc_info=err)
        return engine

    return job


class _Stopping:
    """Where a run that is to stop may end: not between the last step of a batch and its masks, which are finished."""

    def __init__(self) -> None:
        self._has_waited = False

    def may_end_after(self, event: SamplingEvent) -> bool:
        """Whether no masks of steps that are done are still to come; asked of every event from the wish to stop on."""
        is_between = isinstance(event, Stepped) and (self._has_waited or event.step + 1 < event.steps)
        if is_between or isinstance(event, Started):
            return True
        self._has_waited = True
        return False


def segment_job(
    load_engine: LoadEngine, plan: RunPlan, control: RunControl, *, open_runs: Collection[Path] = ()
) -> Job:
    """Sample an ensemble. Every event is on disk before it is in the mailbox; a stop is answered within two steps.

    While the run is paused the job rests between two steps, and still answers a stop. Once a new run has a result, the
    oldest kept ones give way, except `open_runs`.
    """

    def job(mailbox: Mailbox, stop: threading.Event) -> None:
        from napari_diffseg.runs.keep import keep_run
        from napari_diffseg.runs.run_folder import RunFolder

        mailbox.put(StatusMessage("Preparing…"))
        engine = load(load_engine, plan.checkpoint, plan.overrides, mailbox, stop)
        check_modalities(plan, engine)
        folder = RunFolder(plan.folder, plan.case, engine.checkpoint, plan.request)
        events = keep_run(engine.segmenter, folder, resume=plan.resume, focus=control.focus_now)
        is_new, watch, stopping = not plan.resume, Stopwatch(), _Stopping()
        try:
            for event in events:
                mailbox.put(event)
                if isinstance(event, Stepped):
                    watch.see(event.done)
                if isinstance(event, Finished):  # nothing is left to stop, however late somebody asked for it
                    break
                if is_new and isinstance(event, Sampled):  # before it there is nothing to open again
                    is_new = False
                    _make_room(plan, open_runs)
                if not control.going.is_set():
                    watch.rest()
                while not (control.going.is_set() or stop.is_set()):
                    control.going.wait(_GLANCE_S)
                if stop.is_set() and stopping.may_end_after(event):
                    raise Stopped
        finally:
            events.close()
            if watch.seconds_each is not None:
                mailbox.put(Timed(plan.checkpoint, plan.request, watch.seconds_each, sampling=True))

    return job


def _make_room(plan: RunPlan, open_runs: Collection[Path]) -> None:
    """Write down where the run comes from, so that it can be opened again, and let the oldest runs go."""
    from napari_diffseg.plugin.session.run_origin import write_origin
    from napari_diffseg.plugin.session.run_store import RunStore

    write_origin(plan)
    removed = RunStore(plan.folder.parent).prune({plan.folder, *open_runs})
    if removed:
        logger.info("%d old runs were removed from %s.", removed, plan.folder.parent)


def check_modalities(plan: RunPlan, engine: Engine) -> None:
    """Refuse an engine that takes other modalities, or in another order, than the plan's case has.

    Raises
    ------
    BadRequest
        If it does.
    """
    wanted = engine.checkpoint.recipe.modalities
    if tuple(plan.case.volumes) != tuple(name for name in wanted if name not in plan.left_out):
        raise BadRequest(
            f"The checkpoint now takes {', '.join(wanted)}, not {', '.join(plan.case.volumes)}: load it again."
        )


def export_job(
    source: Path,
    target: Path,
    choice: ExportChoice,
    *,
    also: ReportChoice | None = None,
    edited: EditedMask | None = None,
) -> Job:
    """Write a run's results as they were chosen, its page and pictures, and the mask that somebody has corrected.

    The result is the folder they are in.
    """

    def job(mailbox: Mailbox, stop: threading.Event) -> Path:
        from napari_diffseg.reporting import RunReport, export_all
        from napari_diffseg.runs.export import count_files
        from napari_diffseg.runs.stored_run import read_run

        def check_stop() -> None:
            if stop.is_set():
                raise Stopped

        mailbox.put(StatusMessage("Reading the run…"))
        run = read_run(source, check_stop=check_stop)
        report = None if also is None else RunReport(run, also, choice, edited)
        count = count_files(run, choice, edited) + (0 if report is None else report.count)
        writing = export_all(run, target, choice, report, edited)
        for n, _ in enumerate(writing, start=1):
            mailbox.put(StatusMessage(f"Exporting: {n} of {count} files…"))
            check_stop()
        return target

    return job
