"""How many processor threads a run computes with.

PyTorch keeps one number for each thread, and one for the process, with which a new thread begins; whoever sets the
first sets the second, too. Runs of two windows are at work in one process at the same time, so what the process was
told before any of them is remembered here.
"""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

_CORES_TO_SPARE_ONE = 3


class _Told:
    """What PyTorch was told before the first of the runs that are going on."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._runs = 0
        self._before = 1

    def now(self) -> int:
        """Threads where no run says otherwise; the lock is held."""
        return self._before if self._runs else torch.get_num_threads()

    def begin(self) -> None:
        """One more run; the lock is held."""
        self._before = self.now()
        self._runs += 1

    def end(self) -> None:
        """One run less; the lock is held."""
        self._runs -= 1


_told = _Told()


def resolve_threads(wanted: int | None, *, beside_viewer: bool) -> int:
    """Threads for a run.

    Parameters
    ----------
    wanted : int or None
        What a request says; more than there are cores is taken for as many as there are.
    beside_viewer : bool
        Whether a window is drawn by the same processor. Unless a number is wanted, it then has a core to itself where
        there are three or more; of two cores the sampler has both, at low priority: half the speed would buy nothing.
    """
    cores = _usable_cores()
    if wanted is not None:
        return min(wanted, cores)
    with _told.lock:
        told = _told.now()  # one a core, unless OMP_NUM_THREADS or the program itself says otherwise
    return min(told, cores - 1) if beside_viewer and cores >= _CORES_TO_SPARE_ONE else told


@contextmanager
def threads_used(count: int) -> Iterator[None]:
    """Within, this thread computes with so many; after, with what PyTorch was told before any run began."""
    with _told.lock:
        _told.begin()
        _compute_with(count)
    try:
        yield
    finally:
        with _told.lock:
            _compute_with(_told.now())
            _told.end()


def one_thread_each(count: int) -> ThreadPoolExecutor:
    """So many new threads, as nice as this one, each of which does alone what PyTorch would share out."""
    all_there = threading.Barrier(count + 1)

    def begin() -> None:
        _compute_with(1)
        all_there.wait()

    pool = ThreadPoolExecutor(count, initializer=begin)
    with _told.lock:
        mine = torch.get_num_threads()
        try:
            for _ in range(count):  # a pool makes a thread for a task as long as none is idle
                pool.submit(int)
        except RuntimeError:  # the system gives no more threads
            all_there.abort()
            raise
        all_there.wait()
        _compute_with(mine)  # for threads that are new after these
    return pool


def _compute_with(count: int) -> None:
    """Let this thread, and those that are new after it, compute with so many."""
    torch.get_num_threads()  # a thread takes over the process's number once: not after it has been told its own
    torch.set_num_threads(count)


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
