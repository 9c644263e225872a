"""Whether an engine on another computer can be used, and what it has, before anything is sent there."""

from __future__ import annotations

import time
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Final

from napari_diffseg.remote.answers import other_version
from napari_diffseg.remote.link import Link
from napari_diffseg.remote.messages import Done, Inspect, Inspected, Ping, Welcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_diffseg.remote.computer import Computer

_PINGS: Final = 5
_LITTLE_DISK: Final = 2 * 10**9


@dataclass(frozen=True, slots=True)
class ConnectionReport:
    """What was found.

    Attributes
    ----------
    name : str
        Of the computer.
    latency_s : float
        From a question to its answer, the median of a few.
    welcome : Welcome
        Its versions.
    found : Inspected
        What it has.
    missing : tuple of str
        What stands in the way of a run, or makes it slow, one sentence each.
    """

    name: str
    latency_s: float
    welcome: Welcome
    found: Inspected
    missing: tuple[str, ...]

    @property
    def words(self) -> str:
        """The report in one or two sentences."""
        found = self.found
        gpus = ", ".join(f"{gpu.name} ({gpu.free / 1e9:.0f} of {gpu.total / 1e9:.0f} GB free)" for gpu in found.devices)
        computes = gpus or f"no NVIDIA GPU, {found.cores} processor cores"
        said = (
            f"{self.name} answers in {1000 * self.latency_s:.0f} ms: {computes}; {found.free_disk / 1e9:.0f} GB of "
            f"disk free; napari-diffseg {self.welcome.version}, Python {self.welcome.python}, "
            f"PyTorch {found.torch or 'none'}."
        )
        return " ".join([said, *self.missing])


def check_connection(
    computer: Computer, *, check: Callable[[], None] = lambda: None, told: Callable[[str], None] = lambda _: None
) -> ConnectionReport:
    """Start an engine there, ask it, and end it; `check` and `told` are those of a `Link`.

    Raises
    ------
    EngineFailed
        If it cannot be started or does not answer; the text says why.
    """
    link = Link(computer, check=check, told=told)
    try:
        times = []
        for _ in range(_PINGS):
            began = time.monotonic()
            link.ask(Ping(id=link.number()), Done)
            times.append(time.monotonic() - began)
        found = link.ask(Inspect(id=link.number()), Inspected)
        return ConnectionReport(computer.name, median(times), link.welcome, found, tuple(_missing(link.welcome, found)))
    finally:
        link.close()


def _missing(welcome: Welcome, found: Inspected) -> list[str]:
    missing = []
    if found.torch is None:
        missing.append("PyTorch is missing there: install it with pip install 'napari-diffseg[local]'.")
    if note := other_version(welcome):
        missing.append(note)
    if found.free_disk < _LITTLE_DISK:
        missing.append(f"The disk there is nearly full: make room in {found.folder}.")
    return missing
