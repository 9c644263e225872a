"""How much memory there is, and how much of it an image may take."""

from __future__ import annotations

from pathlib import Path

import psutil

_GROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)
_SHARE = 0.5


def memory_budget() -> int:
    """Bytes that one image may take: half of what is free."""
    return int(free_memory() * _SHARE)


def free_memory() -> int:
    """Bytes that are free, on the machine or in the container around us."""
    free = int(psutil.virtual_memory().available)
    for limit, used in _GROUPS:
        try:
            free = min(free, int(Path(limit).read_text("ascii")) - int(Path(used).read_text("ascii")))
        except (OSError, ValueError):  # no such control group, or "max"
            continue
    return max(free, 0)
