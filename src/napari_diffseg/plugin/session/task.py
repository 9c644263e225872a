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
    from napari_diffseg.plugin.session.run_plan import RunPlan


class Phase(Enum):
    """What the session is doing: IDLE -> LOADING -> IDLE; IDLE -> RUNNING (<-> PAUSED) (-> CANCELLING) -> IDLE."""

    IDLE = "idle"
    LOADING = "loading"
    RUNNING = "running"
    PAUSED = "paused"
    CANCELLING = "cancelling"


BUSY: Final = {
    Phase.LOADING: "Wait until loading has ended.",
    Phase.RUNNING: "A run is going on: wait for it, or cancel it.",
    Phase.PAUSED: "A run is paused: resume it, or cancel it.",
    Phase.CANCELLING: "The last run is stopping.",
}
"""Why nothing else can be begun meanwhile, as a sentence."""


@dataclass(eq=False)
class Task:
    """A job under way. Only the present task's mailbox is read, so nothing of an earlier run can be taken for it."""

    job: Job
    phase: Phase
    done: Callable[[Any], None]
    refused: Callable[[str], None] | None = None
    plan: RunPlan | None = None
    mailbox: Mailbox = field(default_factory=Mailbox)
    stop: threading.Event = field(default_factory=threading.Event)
    reins: RunControl = field(default_factory=RunControl)
    started: Started | None = None
    _first_step: tuple[float, int] | None = field(default=None, init=False)

    def rest(self) -> None:
        """Let a run rest after its present step."""
        self.reins.going.clear()

    def go_on(self) -> None:
        """End the rest; the estimate begins anew, as it is not to count the rest."""
        self._first_step = None
        self.reins.going.set()

    def seconds_left(self, done: int) -> float | None:
        """The estimate after so many evaluations; None while it is unknown."""
        if self.started is None:
            return None
        now = (time.monotonic(), done)
        self._first_step = self._first_step or now
        return seconds_left(self._first_step, now, self.started)
