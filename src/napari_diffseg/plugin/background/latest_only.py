"""Answers the newest of several questions in another thread; no widget, so a test can drive it."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final

from psygnal import Signal

from napari_diffseg.plugin.background.job import run_guarded
from napari_diffseg.plugin.background.mailbox import Ended, Ending, Mailbox

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_diffseg.plugin.background.job import Job

    Launcher = Callable[[Callable[[], None], threading.Event], None]

_REST: Final = 4
"""Time between answers, in multiples of what the last one took: the sampler gets the rest."""


@dataclass(eq=False)
class _Question:
    """One that waits or is worked on; its mailbox is its own, so a stale answer cannot be taken for a new one."""

    job: Job
    at_once: bool
    began: float = 0.0
    mailbox: Mailbox = field(default_factory=Mailbox)
    stop: threading.Event = field(default_factory=threading.Event)


class LatestOnly:
    """One job at a time; while it goes on, only the last that was asked for waits.

    All methods are called on the GUI thread; `poll` by a timer, or by a test.

    Parameters
    ----------
    launch : callable (target, stop)
        Runs `target()`, which never raises, in another thread.
    """

    asked: ClassVar[Signal] = Signal()
    """There is a question: `poll` is to be called until there is none."""
    answered: ClassVar[Signal] = Signal(object)
    """What the job gave."""
    failed: ClassVar[Signal] = Signal(str)
    """The sentence of an error."""

    def __init__(self, *, launch: Launcher) -> None:
        self._launch = launch
        self._now: _Question | None = None
        self._next: _Question | None = None
        self._rest_until = 0.0

    @property
    def is_busy(self) -> bool:
        """Whether `poll` has to be called again."""
        return self._now is not None or self._next is not None

    def ask(self, job: Job, *, at_once: bool = True) -> None:
        """Do a job, instead of any that waits.

        Parameters
        ----------
        job : callable (mailbox, stop)
            Gives the answer; it should look at `stop` now and then.
        at_once : bool
            Whether to begin even if the last answer came only just now; False while a run goes on.
        """
        hurry = at_once or (self._next is not None and self._next.at_once)
        self._next = _Question(job, hurry)
        self._begin()
        self.asked.emit()

    def forget(self) -> None:
        """Nobody wants the answer any more: the job is asked to stop, and nothing is heard of it."""
        if self._now is not None:
            self._now.stop.set()
        self._now = self._next = None

    def poll(self) -> None:
        """Take the answer in when it is there, tell the listeners, and begin with what waits."""
        if self._now is not None:
            ended = next((item for item in self._now.mailbox.take_items() if isinstance(item, Ended)), None)
            if ended is not None:
                self._rest_until = time.monotonic() + _REST * (time.monotonic() - self._now.began)
                self._now = None
                self._tell(ended)
        self._begin()

    def _begin(self) -> None:
        if self._now is not None or self._next is None:
            return
        if not self._next.at_once and time.monotonic() < self._rest_until:
            return
        now, self._next = self._next, None
        self._now, now.began = now, time.monotonic()
        self._launch(partial(run_guarded, now.job, now.mailbox, now.stop), now.stop)

    def _tell(self, ended: Ended) -> None:
        if ended.ending is Ending.DONE:
            self.answered.emit(ended.result)
        elif ended.ending is Ending.FAILED:
            self.failed.emit(ended.text)


def raise_if(stop: threading.Event) -> None:
    """End the job when it has been asked to stop."""
    from napari_diffseg.plugin.background.job import Stopped

    if stop.is_set():
        raise Stopped


def job_of(function: Callable[[threading.Event], Any]) -> Job:
    """A job that has nothing to say before it ends."""

    def job(_mailbox: Mailbox, stop: threading.Event) -> Any:
        return function(stop)

    return job
