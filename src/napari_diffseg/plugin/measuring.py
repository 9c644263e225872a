"""Measures the ensemble on the screen in another thread; no widget, so a test can drive it."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Final

from psygnal import Signal

from napari_diffseg.plugin.jobs import Stopped, run_guarded
from napari_diffseg.plugin.mailbox import Ended, Ending, Mailbox

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_diffseg.plugin.result_view import ResultView
    from napari_diffseg.segmenting.findings import Findings
    from napari_diffseg.segmenting.whole_members import WholeMembers

    Launcher = Callable[[Callable[[], None], threading.Event], None]

_REST: Final = 4
"""Time between measurements, in multiples of what the last one took: the sampler gets the rest."""


@dataclass(eq=False)
class _Measurement:
    """One under way; its mailbox is its own, so a stale answer cannot be taken for a new one."""

    members: WholeMembers
    voxel_mm3: float
    at_once: bool
    began: float = field(default_factory=time.monotonic)
    mailbox: Mailbox = field(default_factory=Mailbox)
    stop: threading.Event = field(default_factory=threading.Event)


class Measuring:
    """Answers the newest question: one measurement at a time, and while it goes on only the last question waits.

    All methods are called on the GUI thread; `poll` by a timer, or by a test.

    Parameters
    ----------
    launch : callable (target, stop)
        Runs `target()`, which never raises, in another thread.
    """

    measured: ClassVar[Signal] = Signal(object)
    """The Findings; None when there is nothing to measure any more."""
    failed: ClassVar[Signal] = Signal(str)
    """The sentence of an error."""

    def __init__(self, *, launch: Launcher) -> None:
        self._launch = launch
        self._now: _Measurement | None = None
        self._next: _Measurement | None = None
        self._rest_until = 0.0
        self._findings: Findings | None = None

    @property
    def findings(self) -> Findings | None:
        """What was measured last; None before, and after a new run has begun."""
        return self._findings

    @property
    def is_busy(self) -> bool:
        """Whether `poll` has to be called again."""
        return self._now is not None or self._next is not None

    def ask(self, view: ResultView | None, *, at_once: bool = True) -> None:
        """Measure the whole members of a result as they are now; without any, forget what was measured.

        Parameters
        ----------
        view : ResultView or None
            What is on the screen.
        at_once : bool
            Whether to begin even if the last measurement was only just now; False while a run goes on.
        """
        members = view.ensemble.whole_members(first=view.first) if view is not None else None
        if view is None or members is None or not members.members:
            self.forget()
            return
        hurry = at_once or (self._next is not None and self._next.at_once)
        self._next = _Measurement(members, view.voxel_mm3, hurry)
        self._begin()

    def forget(self) -> None:
        """What was measured, or is being measured, is of a result that is no longer on the screen."""
        self._stop()
        if self._findings is not None:
            self._findings = None
            self.measured.emit(None)

    def close(self) -> None:
        """End for good: nothing more is heard."""
        self._stop()

    def _stop(self) -> None:
        if self._now is not None:
            self._now.stop.set()
        self._now = self._next = None

    def _begin(self) -> None:
        if self._now is not None or self._next is None:
            return
        if not self._next.at_once and time.monotonic() < self._rest_until:
            return
        self._now, self._next = self._next, None
        self._now.began = time.monotonic()
        job = partial(_measure, self._now.members, self._now.voxel_mm3)
        self._launch(partial(run_guarded, job, self._now.mailbox, self._now.stop), self._now.stop)

    def poll(self) -> None:
        """Take the answer in when it is there, tell the listeners, and begin with what waits."""
        if self._now is not None:
            ended = next((item for item in self._now.mailbox.take_items() if isinstance(item, Ended)), None)
            if ended is not None:
                self._rest_until = time.monotonic() + _REST * (time.monotonic() - self._now.began)
                self._now = None
                self._take(ended)
        self._begin()

    def _take(self, ended: Ended) -> None:
        if ended.ending is Ending.DONE:
            self._findings = ended.result
            self.measured.emit(ended.result)
        elif ended.ending is Ending.FAILED:
            self.failed.emit(ended.text)


def _measure(members: WholeMembers, voxel_mm3: float, _mailbox: Mailbox, stop: threading.Event) -> Findings:
    """The job: measure, but stop before the next member when asked to."""
    from napari_diffseg.segmenting.findings import measure

    def check() -> None:
        if stop.is_set():
            raise Stopped

    return measure(replace(members, before_read=check), voxel_mm3=voxel_mm3)
