"""How many processor threads a run computes with."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

_CORES_TO_SPARE_ONE = 3


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
    told = torch.get_num_threads()  # one a core, unless OMP_NUM_THREADS or the program itself says otherwise
    return min(told, cores - 1) if beside_viewer and cores >= _CORES_TO_SPARE_ONE else told


@contextmanager
def threads_used(count: int) -> Iterator[None]:
    """Within, PyTorch computes with so many threads; what it was told before is put back after."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
