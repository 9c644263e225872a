"""A job under way in a session, and what the session is doing meanwhile."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from napari_diffseg.plugin.mailbox import Mailbox

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari_diffseg.events import Started
    from napari_diffseg.plugin.jobs import Job, RunPlan


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
    going: threading.Event = field(default_factory=threading.Event)
    started: Started | None = None
    saved: Path | None = None
    first_step: tuple[float, int] | None = None
