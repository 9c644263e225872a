"""Many cases with the settings that are chosen, one after the other, beside what the window shows; no widget."""

from __future__ import annotations

import csv
import io
import logging
import threading
import time
from collections import deque
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final

from psygnal import Signal

from napari_diffseg.errors import BadRequest, DiffsegError, Remedy
from napari_diffseg.events import Started, Stepped, make_request
from napari_diffseg.plugin.background.job import Stopped, run_guarded, unexpected
from napari_diffseg.plugin.background.mailbox import Ended, Ending, Mailbox
from napari_diffseg.plugin.background.panel_words import worded
from napari_diffseg.plugin.session.jobs import load
from napari_diffseg.plugin.session.scope import Scope

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from napari_diffseg.cohorts.cohort_run import CohortRun
    from napari_diffseg.cohorts.work import CohortEvent
    from napari_diffseg.events import SegmentRequest
    from napari_diffseg.plugin.background.job import Job
    from napari_diffseg.plugin.session.case_folder import CaseFolder, FolderCase
    from napari_diffseg.plugin.session.chosen import Chosen
    from napari_diffseg.plugin.session.jobs import LoadEngine

    Launcher = Callable[[Callable[[], None], threading.Event], None]

logger = logging.getLogger(__name__)

COLUMNS: Final = ("case", "state", "mask_ml", "lesions", "dice", "seconds", "message")
BUSY: Final = "A batch is going on: wait for it, or cancel it."


class CaseState(Enum):
    """How a case of a batch stands; the value is what the user reads."""

    LEFT_OUT = ""
    """No batch has been asked for it."""
    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    DONE_BEFORE = "done before"
    FAILED = "failed"
    ELSEWHERE = "run elsewhere"
    STOPPED = "stopped"

    @property
    def is_over(self) -> bool:
        """Whether nothing more comes of it in this batch."""
        return self not in (CaseState.LEFT_OUT, CaseState.WAITING, CaseState.RUNNING)

    @property
    def has_results(self) -> bool:
        """Whether there is a whole run to look at."""
        return self in (CaseState.DONE, CaseState.DONE_BEFORE)


@dataclass(frozen=True, slots=True)
class BatchRow:
    """A case in the table of a batch.

    Attributes
    ----------
    name : str
        The case.
    state : CaseState
        How it stands.
    share : float
        Of its evaluations, those that are done.
    volume_ml, lesions, dice : float, int, float or None
        Of its mask, see `CaseSummary`.
    seconds : float or None
        That sampling took.
    message : str
        Why it failed, or what is to be known of it.
    folder : Path or None
        Where its results are.
    """

    name: str
    state: CaseState = CaseState.WAITING
    share: float = 0.0
    volume_ml: float | None = None
    lesions: int | None = None
    dice: float | None = None
    seconds: float | None = None
    message: str = ""
    folder: Path | None = None

    @property
    def cells(self) -> tuple[str, ...]:
        """What stands in its line, column by column."""
        state = f"{self.state.value} {self.share:.0%}" if self.state is CaseState.RUNNING else self.state.value
        return (
            self.name,
            state,
            "" if self.volume_ml is None else f"{self.volume_ml:.2f}",
            "" if self.lesions is None else str(self.lesions),
            "" if self.dice is None else f"{self.dice:.3f}",
            "" if self.seconds is None else f"{self.seconds:.0f}",
            self.message,
        )


@dataclass(frozen=True, eq=False)
class BatchPlan:
    """What a batch does, frozen when it starts.

    Attributes
    ----------
    folder : CaseFolder
        The cases' folder, which finds their references.
    cases : tuple of FolderCase
        Those that are segmented, in their order.
    checkpoint, overrides, request :
        With what, and how.
    out : Path
        Holds a folder of results for each case.
    replaces : bool
        Whether results that are there are made anew; else what is done with the same settings is left as it is.
    """

    folder: CaseFolder
    cases: tuple[FolderCase, ...]
    checkpoint: str
    overrides: Mapping[str, Any]
    request: SegmentRequest
    out: Path
    replaces: bool = False


def batch_request(chosen: Chosen) -> SegmentRequest:
    """The settings that are chosen, as they are for every case.

    Raises
    ------
    BadRequest
        If the scope is of the case on the screen alone.
    """
    if chosen.scope not in (Scope.VOLUME, Scope.RANGE):
        raise BadRequest(
            "A batch samples whole volumes, or a range of slices: this slice and a drawn box are of one case.",
            Remedy("slices"),
        )
    return make_request(chosen.settings)


@dataclass
class _Progress:
    """How far the case is that is sampled now; written in one thread, read in another."""

    name: str = ""
    done: int = 0
    total: int = 0


@dataclass
class _Clock:
    """Estimates the time left from the cases that this batch has sampled."""

    began: float = field(default_factory=time.monotonic)
    sampled: int = 0
    seconds: float = 0.0
    since: float = 0.0

    def begin(self) -> None:
        self.since = time.monotonic()

    def end(self, *, sampled: bool) -> None:
        if sampled and self.since:
            self.sampled += 1
            self.seconds += time.monotonic() - self.since
        self.since = 0.0

    def left(self, share: float, waiting: int) -> float | None:
        """Seconds that the case under way and so many others will take; None while nothing is known."""
        running = time.monotonic() - self.since if self.since else 0.0
        if self.sampled:
            each = self.seconds / self.sampled
        elif share > 0:
            each = running / share
        else:
            return None
        return max(each - running, 0.0) * bool(self.since) + each * waiting


class Batch:
    """The batch of a viewer: its table, and how far it is.

    All methods are called on the GUI thread; `poll` by a timer, or by a test.

    Parameters
    ----------
    launch : callable (target, stop)
        Runs `target()`, which never raises, in another thread.
    load_engine : callable (checkpoint, overrides) -> Engine
        Loads the checkpoint, in that thread.
    """

    changed: ClassVar[Signal] = Signal()
    """Rows of the table or the progress are others."""
    finished: ClassVar[Signal] = Signal(object)
    """A BatchRow whose case has come to its end."""
    ended: ClassVar[Signal] = Signal(str)
    """Nothing goes on any more: what has come of it, in a sentence."""

    def __init__(self, *, launch: Launcher, load_engine: LoadEngine) -> None:
        self._launch, self._load_engine = launch, load_engine
        self.rows: list[BatchRow] = []
        """The table of the present batch, or of the last."""
        self.plan: BatchPlan | None = None
        """What that batch does."""
        self._places: dict[str, int] = {}
        self._stop: threading.Event | None = None
        self._mailbox = Mailbox()
        self._news: deque[BatchRow] = deque()
        self._progress = _Progress()
        self._clock = _Clock()

    @property
    def is_going_on(self) -> bool:
        """Whether `poll` has to be called again."""
        return self._stop is not None

    @property
    def is_stopping(self) -> bool:
        """Whether it was asked to stop and has not yet."""
        return self._stop is not None and self._stop.is_set()

    @property
    def share(self) -> float:
        """Of all cases, those that have come to their end; of the one under way its part."""
        if not self.rows:
            return 0.0
        return sum(1.0 if row.state.is_over else row.share for row in self.rows) / len(self.rows)

    @property
    def seconds_left(self) -> float | None:
        """The estimate; None while it is not known."""
        waiting = sum(row.state is CaseState.WAITING for row in self.rows)
        running = max((row.share for row in self.rows if row.state is CaseState.RUNNING), default=0.0)
        return self._clock.left(running, waiting) if self.is_going_on else None

    def start(self, plan: BatchPlan) -> None:
        """Begin.

        Raises
        ------
        BadRequest
            If a batch is going on, or no case is chosen.
        """
        if self.is_going_on:
            raise BadRequest(BUSY)
        if not plan.cases:
            raise BadRequest("No case is chosen: tick one at least.")
        self.plan = plan
        self.rows = [BatchRow(case.name) for case in plan.cases]
        self._places = {row.name: n for n, row in enumerate(self.rows)}
        self._mailbox, self._news, self._progress, self._clock = Mailbox(), deque(), _Progress(), _Clock()
        self._stop = threading.Event()
        job = _batch_job(self._load_engine, plan, self._news.append, self._progress)
        self._launch(partial(run_guarded, job, self._mailbox, self._stop), self._stop)
        self.changed.emit()

    def cancel(self) -> None:
        """Stop after the present step: cases and members that are finished are kept."""
        if self._stop is not None:
            self._stop.set()
            self.changed.emit()

    def close(self) -> None:
        """End for good: it is asked to stop, and nothing more is heard of it."""
        if self._stop is not None:
            self._stop.set()
        self._stop = None

    def forget_listeners(self) -> None:
        """Tell nobody any more who listens now."""
        for signal in (self.changed, self.finished, self.ended):
            signal.disconnect()

    def poll(self) -> None:
        """Take in what has come since the last call, and tell the listeners."""
        if self._stop is None:
            return
        ended = next((item for item in self._mailbox.take_items() if isinstance(item, Ended)), None)
        over = [row for row in self._take_rows() if row.state.is_over]
        self._follow_progress()
        if ended is not None:
            self._end(ended)
        self.changed.emit()
        for row in over:
            self.finished.emit(row)
        if ended is not None:
            self.ended.emit(self._words(ended))

    def _take_rows(self) -> list[BatchRow]:
        taken = []
        while self._news:
            row = self._news.popleft()
            self.rows[self._places[row.name]] = row
            taken.append(row)
            if row.state is CaseState.RUNNING:
                self._clock.begin()
            elif row.state.is_over:
                self._clock.end(sampled=row.state is CaseState.DONE)
        return taken

    def _follow_progress(self) -> None:
        now = self._progress
        place = self._places.get(now.name)
        if place is not None and now.total and self.rows[place].state is CaseState.RUNNING:
            self.rows[place] = replace(self.rows[place], share=min(now.done / now.total, 1.0))

    def _end(self, ended: Ended) -> None:
        self._stop = None
        if ended.ending is not Ending.DONE:
            left = CaseState.STOPPED if ended.ending is Ending.CANCELLED else CaseState.FAILED
            self.rows = [
                replace(row, state=left, message=ended.text) if row.state is CaseState.RUNNING else row
                for row in self.rows
            ]

    def _words(self, ended: Ended) -> str:
        counts = {state: sum(row.state is state for row in self.rows) for state in CaseState}
        told = ", ".join(f"{count} {state.value}" for state, count in counts.items() if count)
        match ended.ending:
            case Ending.FAILED:
                return f"The batch has ended: {ended.text}"
            case Ending.CANCELLED:
                return f"Stopped; cases and members that are finished are kept: {told}."
            case Ending.DONE:
                return f"The batch is over: {told}."

    def table(self) -> str:
        """The table as CSV, with a line of column names."""
        text = io.StringIO(newline="")
        rows = csv.writer(text)
        rows.writerow(COLUMNS)
        for row in self.rows:
            figures = (row.volume_ml, row.lesions, row.dice, row.seconds)
            rounded = ["" if n is None else n if isinstance(n, int) else f"{n:.6g}" for n in figures]
            rows.writerow([row.name, row.state.value, *rounded, row.message])
        return text.getvalue()


def _batch_job(load_engine: LoadEngine, plan: BatchPlan, tell: Callable[[BatchRow], None], progress: _Progress) -> Job:
    """Segment the cases of a plan as the command line does; each row is told when it changes."""

    def job(mailbox: Mailbox, stop: threading.Event) -> None:
        from napari_diffseg.cohorts.cohort_folder import CohortFolder
        from napari_diffseg.cohorts.cohort_run import CohortRun, engine_is_here
        from napari_diffseg.remote.segmenter import RemoteSegmenter

        engine = load(load_engine, plan.checkpoint, plan.overrides, mailbox, stop)
        segmenter = engine.segmenter
        ready = segmenter.checkpoint if isinstance(segmenter, RemoteSegmenter) else engine_is_here
        run = CohortRun(segmenter, engine.checkpoint, plan.request, plan.out, resume=True, check_engine=ready)
        folder = CohortFolder(plan.out)
        names = folder.add([case.files for case in plan.cases])
        if plan.replaces:
            folder.replace(names)
        while names:
            bad = _work_through(run, names, plan, tell=tell, progress=progress, stop=stop)
            names = names[names.index(bad) + 1 :] if bad else []

    return job


def _work_through(
    run: CohortRun,
    names: Sequence[str],
    plan: BatchPlan,
    *,
    tell: Callable[[BatchRow], None],
    progress: _Progress,
    stop: threading.Event,
) -> str:
    """Segment cases; the name of one at which something happened that nobody foresaw, empty where nothing did."""
    from napari_diffseg.cohorts.work import CaseBegun, CaseEnded, work_through

    cases = {case.name: case for case in plan.cases}
    events = work_through(run, names)
    now = ""
    try:
        for event in events:
            now = event.name if isinstance(event, CaseBegun) else "" if isinstance(event, CaseEnded) else now
            _follow(event, plan.folder, cases, tell, progress)
            if stop.is_set():
                raise Stopped
    except (Stopped, DiffsegError):
        raise
    except Exception as err:
        if not now:
            raise
        logger.exception("A case of a batch failed unexpectedly.")
        tell(BatchRow(now, CaseState.FAILED, message=unexpected(err), folder=plan.out / now))
    finally:
        events.close()
    return now


def _follow(
    event: CohortEvent,
    folder: CaseFolder,
    cases: Mapping[str, FolderCase],
    tell: Callable[[BatchRow], None],
    progress: _Progress,
) -> None:
    from napari_diffseg.cohorts.work import CaseBegun, CaseEnded, CaseProgress, CaseSkipped

    match event:
        case CaseProgress(_, Started() as started):
            progress.name, progress.done, progress.total = event.name, 0, started.evaluations
        case CaseProgress(_, Stepped() as step):
            progress.done = step.done
        case CaseProgress():
            pass
        case CaseBegun():
            tell(BatchRow(event.name, CaseState.RUNNING, folder=event.folder))
        case CaseSkipped():
            state = {"done": CaseState.DONE_BEFORE, "failed": CaseState.FAILED}.get(event.why, CaseState.ELSEWHERE)
            tell(_measured(BatchRow(event.name, state, folder=event.folder), folder, cases[event.name]))
        case CaseEnded(again=True):
            tell(BatchRow(event.name, CaseState.WAITING, message=_sentence(event.error), folder=event.folder))
        case CaseEnded():
            done = CaseState.DONE if event.sampled else CaseState.DONE_BEFORE
            state = CaseState.FAILED if event.error is not None else done
            row = BatchRow(
                event.name, state, seconds=event.seconds, message=_sentence(event.error), folder=event.folder
            )
            tell(_measured(row, folder, cases[event.name]))


def _sentence(err: DiffsegError | None) -> str:
    return "" if err is None else worded(err)


def _measured(row: BatchRow, folder: CaseFolder, case: FolderCase) -> BatchRow:
    """A row with the figures of its mask, where there is one."""
    from napari_diffseg.cohorts.case_summary import summarise_case

    if not row.state.has_results or row.folder is None:
        return row
    try:
        found = summarise_case(row.folder, truth=folder.reference_of(case))
    except (DiffsegError, OSError) as err:
        return replace(row, message=f"Its results cannot be measured: {err}")
    return replace(
        row,
        share=1.0,
        volume_ml=found.volume_ml,
        lesions=found.lesions,
        dice=found.dice,
        seconds=found.seconds,
        message=row.message or found.note,
    )
