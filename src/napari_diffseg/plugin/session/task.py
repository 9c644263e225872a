"""A job under way in a session, and what the session is doing meanwhile."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from napari_diffseg.plugin.background.mailbox import Mailbox
from napari_diffseg.plugin.session.jobs import RunControl
from napari_diffseg.plugin.session.progress import seconds_left

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_diffseg.events import Started
    from napari_diffseg.plugin.background.job import Job
    from napari_diffseg.plugin.session.run_entry import RunEntry
    from napari_diffseg.plugin.session.run_plan import RunPlan


class Phase(Enum):
    """What the session is doing: IDLE -> WORKING -> IDLE; IDLE -> RUNNING (<-> PAUSED) (-> CANCELLING) -> IDLE.

    WORKING is everything but a run: its task says what.
    """

    IDLE = "idle"
    WORKING = "working"
    RUNNING = "running"
    PAUSED = "paused"
    CANCELLING = "cancelling"


class Work(Enum):
    """What a task does that is no run; the value is what the user reads while it goes on."""

    OPENING = "Images are being opened"
    REOPENING = "A run is being opened again"
    LOADING = "The checkpoint is being loaded"
    EXPORTING = "An export is going on"
    COMPARING = "Two runs are being compared"
    RESAMPLING = "Images are being resampled"
    RECORDING = "The denoising of a slice is being recorded"
    CHECKING = "A checkpoint is being checked"
    WHAT_IF = "A changed image is being tried"
    TESTING = "A connection is being tested"


_RUN: Final = {
    Phase.RUNNING: "A run is going on: wait for it, or cancel it.",
    Phase.PAUSED: "A run is paused: resume it, or cancel it.",
    Phase.CANCELLING: "The last run is stopping.",
}


@dataclass(eq=False)
class Task:
    """A job under way. Only the present task's mailbox is read, so nothing of an earlier run can be taken for it.

    Attributes
    ----------
    job : callable (mailbox, stop)
        What is done in another thread.
    work : Work or None
        What it is; None for a run.
    done : callable (result)
        Told of the job's result, where it came to its end.
    refused : callable (sentence), optional
        Told why it failed.
    plan : RunPlan or None
        Of a run.
    entry : RunEntry or None
        The run, once it has started; of one that is taken up again, from the beginning.
    """

    job: Job
    work: Work | None
    done: Callable[[Any], None]
    refused: Callable[[str], None] | None = None
    plan: RunPlan | None = None
    entry: RunEntry | None = None
    mailbox: Mailbox = field(default_factory=Mailbox)
    stop: threading.Event = field(default_factory=threading.Event)
    control: RunControl = field(default_factory=RunControl)
    started: Started | None = None
    told: tuple[tuple[int, int] | None, int | None] = (None, None)
    """What the user was told last: member and slice of the second plane, and slices of the one-step estimate."""
    _first_step: tuple[float, int] | None = field(default=None, init=False)

    @property
    def phase(self) -> Phase:
        """The phase in which the session is from its beginning."""
        return Phase.RUNNING if self.work is None else Phase.WORKING

    def rest(self) -> None:
        """Let a run rest after its present step."""
        self.control.going.clear()

    def go_on(self) -> None:
        """End the rest; the estimate begins anew, as it is not to count the rest."""
        self.begin_anew()
        self.control.going.set()

    def begin_anew(self) -> None:
        """Estimate the time left from now on alone: what was done until now tells nothing of the rest."""
        self._first_step = None

    def seconds_left(self, done: int) -> float | None:
        """The estimate after so many evaluations; None while it is unknown."""
        if self.started is None:
            return None
        now = (time.monotonic(), done)
        self._first_step = self._first_step or now
        return seconds_left(self._first_step, now, self.started)


def why_busy(phase: Phase, task: Task | None) -> str | None:
    """Why nothing else can be begun, as a sentence; None where nothing goes on."""
    if phase is Phase.IDLE:
        return None
    if task is not None and task.work is not None:
        return f"{task.work.value}: wait for it, or cancel it."
    return _RUN[phase]
