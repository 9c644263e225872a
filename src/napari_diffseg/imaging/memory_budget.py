"""How much memory an image may take here."""

from __future__ import annotations

from pathlib import Path

import psutil

_GROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)
_SHARE = 0.5


def memory_budget() -> int:
    """Bytes that one image may take: half of what is free, for the machine or for the container around us."""
    free = int(psutil.virtual_memory().available)
    for limit, used in _GROUPS:
        try:
            free = min(free, int(Path(limit).read_text("ascii")) - int(Path(used).read_text("ascii")))
        except (OSError, ValueError):  # no such control group, or "max"
            continue
    return max(int(free * _SHARE), 0)
