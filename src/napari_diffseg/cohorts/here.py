"""Workers on this computer: processes, each with a GPU of its own where there are several, and its share of threads."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO, Final

from napari_diffseg.cohorts.worker import THREADS
from napari_diffseg.errors import RunFailed
from napari_diffseg.imaging.atomic import make_folder

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_diffseg.cohorts.cohort_folder import CohortFolder
    from napari_diffseg.cohorts.launch import Launch

_VISIBLE: Final = "CUDA_VISIBLE_DEVICES"
_END_S: Final = 60.0
"""How long a worker may take to write the end of its case."""
_MOST_EARLY_DEATHS: Final = 2
"""How often in a row a worker may die before it has claimed a case."""


@dataclass(eq=False)
class WorkersHere:
    """So many workers of one command, started again when they die and there is work left.

    Parameters
    ----------
    folder : CohortFolder
        Of the cohort.
    launch : Launch
        The command.
    count : int
        How many.
    """

    folder: CohortFolder
    launch: Launch
    count: int
    _running: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict, init=False)
    _early: dict[int, int] = field(default_factory=dict, init=False)

    def keep_going(self, *, is_work_left: bool, unfinished: int) -> bool:
        """Start what is not running and has work; whether any worker is running.

        Parameters
        ----------
        is_work_left : bool
            Whether a case waits for a worker.
        unfinished : int
            Cases that wait or are worked on: no more workers than these.

        Raises
        ------
        RunFailed
            If workers cannot be started, or die before they have claimed a case.
        """
        for index, process in list(self._running.items()):
            if process.poll() is not None:
                self._check_claimed(index, process)
                self._running.pop(index)
        for index in range(self.count):
            if is_work_left and index not in self._running and len(self._running) < unfinished:
                self._running[index] = self._start(index)
        return bool(self._running)

    def stop(self) -> None:
        """End all workers in order; those that do not are killed."""
        for process in self._running.values():
            process.terminate()
        for process in self._running.values():
            try:
                process.wait(_END_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._running.clear()

    def log(self, index: int) -> Path:
        """What a worker says."""
        return self.folder.state / "logs" / f"{self.launch.id[:8]}-{index}.txt"

    def _start(self, index: int) -> subprocess.Popen[bytes]:
        make_folder(self.log(index).parent)
        words = (str(self.folder.out), self.launch.id, str(index), str(self.count))
        with self.log(index).open("ab") as log:
            return _start_worker(words, self._environment(index), log)

    def _environment(self, index: int) -> dict[str, str]:
        gpus = visible_gpus()
        share = {THREADS: str(max(1, _cores() // self.count))}
        if len(gpus) > 1:
            share[_VISIBLE] = gpus[index % len(gpus)]
        return {**os.environ, **share}

    def _check_claimed(self, index: int, process: subprocess.Popen[bytes]) -> None:
        """Refuse to start again, for ever, what cannot work."""
        if process.returncode == 0 or any(
            attempt.launch == self.launch.id and attempt.who.pid == process.pid
            for attempts in self.folder.attempts.of_all().values()
            for attempt in attempts
        ):
            self._early[index] = 0
            return
        self._early[index] = self._early.get(index, 0) + 1
        if self._early[index] > _MOST_EARLY_DEATHS:
            raise RunFailed(f"Workers end before they begin ({_last_line(self.log(index))}): see {self.log(index)}.")


def _start_worker(words: Sequence[str], environment: dict[str, str], log: BinaryIO) -> subprocess.Popen[bytes]:
    """The process; its standard input tells it when this one is gone, and Ctrl-C is this one's alone."""
    try:
        return subprocess.Popen(
            [sys.executable, "-m", "napari_diffseg.cohorts.worker", *words],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env=environment,
            start_new_session=os.name != "nt",
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )
    except OSError as err:
        raise RunFailed(f"No worker can be started: {err.strerror or err}: ask for fewer.") from err


def visible_gpus() -> list[str]:
    """NVIDIA GPUs that this process may use, by the words that `CUDA_VISIBLE_DEVICES` takes; without torch."""
    told = os.environ.get(_VISIBLE)
    if told is not None:
        return [word.strip() for word in told.split(",") if word.strip()]
    try:
        listed = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return [str(k) for k, line in enumerate(line for line in listed.stdout.splitlines() if line.startswith("GPU "))]


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _last_line(log: Path) -> str:
    try:
        lines = log.read_text("utf-8", errors="replace").strip().splitlines()
    except OSError:
        return "no log"
    return lines[-1] if lines else "nothing was said"
