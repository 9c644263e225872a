"""The thread that jobs run in, and how napari asks it to stop."""

from __future__ import annotations

import os
import sys
import threading
from typing import TYPE_CHECKING, Any

from napari.qt.threading import FunctionWorker, create_worker

if TYPE_CHECKING:
    from collections.abc import Callable

_NICE = 10


class StopWorker(FunctionWorker):
    """A worker whose `quit` sets an event that the job looks at.

    napari calls `quit` when a window is closed and again when it waits for all workers at its end; a plain worker
    would make it wait until the function has returned by itself.
    """

    def __init__(self, function: Callable[[], None], stop: threading.Event) -> None:
        super().__init__(function)
        self._stop = stop

    def quit(self) -> None:
        """Ask the job to stop at its next step."""
        self._stop.set()
        super().quit()


def launch(target: Callable[[], None], stop: threading.Event) -> None:
    """Run `target` in a thread of napari's pool, at low priority, so that the window stays smooth.

    napari keeps every worker, with its function and arguments, until the window dies. So that a run's images and
    network do not live that long, the function it keeps holds the target only until it begins.

    Parameters
    ----------
    target : callable without arguments
        Must not raise.
    stop : threading.Event
        Set when napari wants the job to end.
    """
    box = [target]

    def work() -> None:
        _yield_to_the_screen()
        box.pop()()

    worker: Any = create_worker(work, stop=stop, _worker_class=StopWorker, _start_thread=False, _ignore_errors=True)
    worker.start()


def end_all() -> None:
    """Ask all jobs to stop and wait for them: a thread that outlives Qt's objects would abort the process."""
    FunctionWorker.await_workers()


def _yield_to_the_screen() -> None:
    """On Linux a thread can be made nicer than its process, and the threads that it starts inherit it."""
    if sys.platform == "linux":
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, max(_NICE, os.getpriority(os.PRIO_PROCESS, thread)))  # never less nice
