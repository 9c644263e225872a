"""Which process works on a case, and whether it still does."""

from __future__ import annotations

import getpass
import os
import socket
from functools import lru_cache
from pathlib import Path
from typing import Final

import psutil
from pydantic import BaseModel, ConfigDict

HEARTBEAT_S: Final = 10.0
"""How often a worker says that it lives."""
SILENT_S: Final = 180.0
"""After how long without a word a worker elsewhere counts as dead: a network disk may show changes a minute late."""
_SAME_START_S: Final = 2.0
"""Two readings of when one process began differ by less."""


class Who(BaseModel):
    """A worker.

    Attributes
    ----------
    host : str
        Name of its computer.
    place : str
        What tells whether its process could be seen from here: the computer since it was last started, and the space of
        process numbers, which a container may have of its own.
    pid : int
        Its process.
    started : float
        When that began, in seconds since 1970: numbers of processes are given anew.
    user : str
        Whose it is.
    job : str
        What a cluster calls it; empty elsewhere.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    host: str
    place: str
    pid: int
    started: float
    user: str = ""
    job: str = ""

    @property
    def shown(self) -> str:
        """Where it is, for people."""
        return f"{self.host}, job {self.job}" if self.job else f"{self.host}, process {self.pid}"

    def is_this_process(self) -> bool:
        """Whether we are it."""
        return self.pid == os.getpid() and self.place == _place() and self.is_alive(0.0)

    def is_alive(self, silent_s: float) -> bool:
        """Whether it still works, as far as can be told.

        A process that can be seen from here is asked for; another one lives as long as it is heard of.

        Parameters
        ----------
        silent_s : float
            Seconds since it was last heard of.
        """
        if self.place != _place():
            started_again = bool(self.job) and self.job == _job()  # our own job, before it was moved here
            return not started_again and silent_s < SILENT_S
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started) < _SAME_START_S
            return same and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False
        except psutil.Error:
            return silent_s < SILENT_S


def this_process() -> Who:
    """Who we are."""
    process = psutil.Process()
    return Who(
        host=socket.gethostname(),
        place=_place(),
        pid=process.pid,
        started=process.create_time(),
        user=_user(),
        job=_job(),
    )


def _job() -> str:
    """The number of a job of SLURM, PBS, LSF or Grid Engine, with its place in an array."""
    if array := os.environ.get("SLURM_ARRAY_JOB_ID"):
        return f"{array}_{os.environ.get('SLURM_ARRAY_TASK_ID', '')}"
    return next((os.environ[n] for n in ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "JOB_ID") if os.environ.get(n)), "")


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return ""


@lru_cache(maxsize=1)
def _place() -> str:
    """The computer since it was started, and the space of process numbers."""
    parts = [socket.gethostname()]
    try:
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip())
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    except OSError:
        parts.append(str(int(psutil.boot_time())))
    return " ".join(parts)
