"""How much memory is free, and how much of it an image may take: the one answer, wherever it is asked."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

import psutil

_SHARE: Final = 0.5
_OF_THIS_PROCESS: Final = Path("/proc/self/cgroup")


class _Files(NamedTuple):
    """Where one version of control groups has its limits: below which folder, and in which files of a group."""

    root: Path
    limit: str
    used: str
    reclaimable: str


_VERSIONS: Final = {
    "": _Files(Path("/sys/fs/cgroup"), "memory.max", "memory.current", "inactive_file"),
    "memory": _Files(
        Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
    ),
}
"""By the controller that `/proc/self/cgroup` names: version 2 names none."""


def memory_budget() -> int:
    """Bytes that one image may take: half of what is free."""
    return int(free_memory() * _SHARE)


def free_memory() -> int:
    """Bytes of host memory that are free: of the machine, or less where a container or a cluster's job has a limit."""
    free = int(psutil.virtual_memory().available)
    for controller, files in _VERSIONS.items():
        for group in _groups(files.root, controller):
            free = min(free, _free_in(group, files, otherwise=free))
    return max(free, 0)


def _groups(root: Path, controller: str) -> list[Path]:
    """The control groups that this process is in, from its own to the outermost, each of which has its limit.

    In a container the path may be the host's; what there is of it is then only the outermost.
    """
    try:
        lines = _OF_THIS_PROCESS.read_text("utf-8").splitlines()
    except OSError:  # no Linux
        return [root]
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            inner = PurePosixPath(path.lstrip("/"))
            return [root / inner, *(root / parent for parent in inner.parents)]
    return [root]


def _free_in(group: Path, files: _Files, *, otherwise: int) -> int:
    """What is left below a group's limit; files that are only cached there give way, and do not count as used."""
    try:
        limit, used = (int((group / name).read_text("ascii")) for name in (files.limit, files.used))
    except (OSError, ValueError):  # no such control group, or "max"
        return otherwise
    return limit - used + _cached(group / "memory.stat", files.reclaimable)


def _cached(statistics: Path, name: str) -> int:
    try:
        values = dict(line.split() for line in statistics.read_text("ascii").splitlines())
        return int(values.get(name, 0))
    except (OSError, ValueError):
        return 0
