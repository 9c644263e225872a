"""Has a network compiled while runs go on without; the next run takes what was made."""

from __future__ import annotations

import atexit
import logging
import threading
import time
import weakref
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from napari_diffseg.errors import DiffsegError
from napari_diffseg.segmenting.device.compile_ahead import CompiledElsewhere, compile_ahead
from napari_diffseg.segmenting.device.compiled import find_package, package_path, recent_failure, uses_compiled
from napari_diffseg.segmenting.device.compiling import CompilePhase, Compiling
from napari_diffseg.segmenting.device.memory import free_bytes

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from napari_diffseg.checkpoint import Checkpoint

logger = logging.getLogger(__name__)

_LEAST_FREE_BYTES: Final = 2 * 2**30
"""On the device: the compiler loads the network, too, and must not take what a run needs."""
_END_S: Final = 5.0


@dataclass(eq=False)
class _Job:
    """One attempt: written in its thread, read in any."""

    path: Path
    stop: threading.Event = field(default_factory=threading.Event)
    state: Compiling = field(default_factory=lambda: Compiling(CompilePhase.UNDER_WAY))
    thread: threading.Thread | None = None

    def end(self) -> None:
        """Stop, and wait a moment until nothing of it is left."""
        self.stop.set()
        if self.thread is not None and self.thread is not threading.current_thread():
            self.thread.join(_END_S)


class CompileMeanwhile:
    """Compiles a checkpoint's network in another process of low priority, at most one at a time.

    It is tried once for each device and arithmetic; where the compiler failed within the last week, not at all. The
    process ends with this object, and with the program.

    Parameters
    ----------
    checkpoint : Checkpoint
        Whose network.
    is_wanted : bool
        Whether `begin` does anything; may be changed at any time.
    """

    def __init__(self, checkpoint: Checkpoint, *, is_wanted: bool = True) -> None:
        self._checkpoint = checkpoint
        self.is_wanted = is_wanted
        self._tried: set[Path] = set()
        self._jobs: list[_Job] = []
        """None, or the last one."""
        weakref.finalize(self, _stop_all, self._jobs)

    @property
    def state(self) -> Compiling:
        """Where the compiling stands now."""
        return self._jobs[0].state if self._jobs else Compiling()

    def begin(self, device: torch.device, dtype: torch.dtype) -> None:
        """Begin, unless it is there, under way, or was tried; or the device has no use or no memory for it."""
        if not (self.is_wanted and uses_compiled(device)) or self.state.phase is CompilePhase.UNDER_WAY:
            return
        path = package_path(self._checkpoint, device, dtype)
        was_tried = path in self._tried and self.state.phase is not CompilePhase.ELSEWHERE
        if was_tried or find_package(self._checkpoint, device, dtype) is not None:
            return
        if (reason := recent_failure(path)) is not None:
            self._tried.add(path)
            logger.info("The network is not compiled, as that failed a short time ago: %s", reason)
            return
        if free_bytes(device) < _LEAST_FREE_BYTES:
            return  # another time there may be more
        self._tried.add(path)
        job = _Job(path)
        arguments = job, self._checkpoint, device, dtype
        # A daemon, so that the program's end does not wait for the compiler, but ends it.
        job.thread = threading.Thread(target=_work, args=arguments, name="compile", daemon=True)
        atexit.register(job.end)
        self._jobs[:] = [job]
        job.thread.start()

    def cancel(self) -> None:
        """End what is under way, with all that it has started; it is not begun again by this object."""
        _stop_all(self._jobs)

    def close(self) -> None:
        """As `cancel`, and wait a moment until nothing is left of it."""
        for job in self._jobs:
            job.end()


def _stop_all(jobs: list[_Job]) -> None:
    for job in jobs:
        job.stop.set()


def _work(job: _Job, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype) -> None:
    began = time.monotonic()
    try:
        with closing(compile_ahead(checkpoint, device, dtype)) as work:
            for seconds in work:
                job.state = Compiling(CompilePhase.UNDER_WAY, seconds)
                if job.stop.is_set():
                    break
        phase, note = (CompilePhase.CANCELLED if job.stop.is_set() else CompilePhase.READY), ""
    except CompiledElsewhere as err:
        phase, note = CompilePhase.ELSEWHERE, str(err)
    except DiffsegError as err:
        phase, note = CompilePhase.FAILED, str(err)
    except Exception as err:
        logger.exception("Compiling failed unexpectedly.")
        phase, note = CompilePhase.FAILED, f"The network was not compiled: {type(err).__name__}."
    if phase is CompilePhase.FAILED:
        logger.warning("%s Runs go on without.", note)
    job.state = Compiling(phase, time.monotonic() - began, note)
    atexit.unregister(job.end)
