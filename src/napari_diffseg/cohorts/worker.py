"""A worker of its own process: `python -m napari_diffseg.cohorts.worker OUT LAUNCH INDEX COUNT`.

It ends when no case is left for it, and stops at SIGTERM, SIGUSR1 or when its standard input is closed, which is when
the command that has started it is gone: the case that it works on keeps its finished members.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final

from napari_diffseg.cohorts.cohort_folder import CohortFolder
from napari_diffseg.cohorts.cohort_run import CohortRun
from napari_diffseg.cohorts.launch import Launch
from napari_diffseg.cohorts.work import CaseBegun, CaseEnded, work_through
from napari_diffseg.errors import BadCheckpoint, DiffsegError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FrameType

logger = logging.getLogger(__name__)

FAILED: Final = 1
STOPPED: Final = 143
THREADS: Final = "NAPARI_DIFFSEG_THREADS"
"""Environment variable by which a command tells its workers how many threads each may use."""


class Stopped(KeyboardInterrupt):
    """The worker is told to stop."""


def work_on(out: Path, launch_id: str, *, index: int, count: int, tell: Callable[[str], None]) -> None:
    """Do what a command asked for, as worker `index` of `count`, until no case is left.

    Parameters
    ----------
    out : Path
        Folder of the cohort.
    launch_id : str
        The command.
    index, count : int
        Workers begin at different cases; each may come to any.
    tell : callable
        Is told what becomes of each case, a line each.

    Raises
    ------
    BadCase
        If what is to be done cannot be read.
    BadCheckpoint
        If the checkpoint cannot be read, or is not the one of the command.
    """
    from napari_diffseg.checkpoint import load_checkpoint
    from napari_diffseg.segmenting.segmenter import LocalSegmenter

    launch = Launch.read(CohortFolder(out), launch_id)
    checkpoint = load_checkpoint(Path(launch.checkpoint), **launch.overrides)
    if checkpoint.digest != launch.digest:
        raise BadCheckpoint(f"{launch.checkpoint} has changed since the command was given: give the command again.")
    run = CohortRun(
        LocalSegmenter(checkpoint, preview_interval_s=None),
        checkpoint,
        launch.request.model_copy(update=_threads(launch)),
        Path(out),
        channels=launch.channels,
        resample=launch.resample,
        pick=launch.pick,
        label_values=launch.label_values,
    )
    events = work_through(run, launch.names, launch=launch.id, first=index * len(launch.names) // max(count, 1))
    try:
        for event in events:
            match event:
                case CaseBegun():
                    tell(f"{event.name}: attempt {event.attempt}")
                case CaseEnded():
                    tell(f"{event.name}: {event.outcome}, {event.seconds:.1f} s {event.error or ''}".rstrip())
    finally:
        events.close()


def _threads(launch: Launch) -> dict[str, int]:
    """The share of the processor that the command leaves to this process, where the user has not said."""
    told = os.environ.get(THREADS, "")
    return {"threads": int(told)} if launch.request.threads is None and told.isdigit() else {}


def stop_on(*numbers: int) -> None:
    """Let these signals end the work in order: what is finished is kept, and the attempt is recorded as stopped."""

    def stop(number: int, frame: FrameType | None) -> None:
        for each in numbers:
            signal.signal(each, signal.SIG_IGN)  # one is enough: the end is being written
        raise Stopped

    for each in numbers:
        signal.signal(each, stop)


def stop_signals() -> list[int]:
    """Those that a cluster or a shell sends to what it is going to end."""
    names = ("SIGTERM", "SIGUSR1", "SIGBREAK")
    return [int(getattr(signal, name)) for name in names if hasattr(signal, name)]


def _stop_with_parent() -> None:
    """End in order once standard input is closed."""

    def wait() -> None:
        while os.read(0, 4096):  # not by sys.stdin, whose lock would be held when the interpreter ends
            pass
        signal.raise_signal(signal.SIGTERM) if os.name == "nt" else os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="waits for the end of the command", daemon=True).start()


def main(words: Sequence[str]) -> int:
    """One worker, as the command line of this module says."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s", stream=sys.stderr)
    out, launch_id, index, count = words
    try:
        stop_on(*stop_signals())
        _stop_with_parent()
        work_on(Path(out), launch_id, index=int(index), count=int(count), tell=_tell)
    except KeyboardInterrupt:
        _tell("stopped; finished members are kept")
        return STOPPED
    except DiffsegError as err:
        _tell(str(err))
        return FAILED
    return 0


def _tell(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
