"""How a training ends before its time, and how it is kept from depending on chance."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    from accelerate import Accelerator


@contextmanager
def stop_between_steps(accelerator: Accelerator) -> Iterator[Callable[[], signal.Signals | None]]:
    """Within, the first interrupt or SIGTERM only makes the given function name it, in all processes alike.

    A process that did not get it itself says SIGTERM. A second one does what it always does. Schedulers of clusters
    send SIGTERM a while before they kill.
    """
    came = signal.SIGTERM

    def stopping() -> signal.Signals | None:
        return came if accelerator.check_trigger() else None

    if threading.current_thread() is not threading.main_thread():
        yield stopping  # only the main thread may handle signals
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal came
        came = signal.Signals(number)
        accelerator.set_trigger()
        signal.signal(number, before[signal.Signals(number)])

    for number in before:
        signal.signal(number, note)
    try:
        yield stopping
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def deterministic(*, enabled: bool) -> Iterator[None]:
    """Within, torch takes algorithms that give the same bytes each time on one device; its setting is put back after.

    Parameters
    ----------
    enabled : bool
        Whether to change anything at all.
    """
    before = torch.are_deterministic_algorithms_enabled()
    warned = torch.is_deterministic_algorithms_warn_only_enabled()
    if enabled:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it when it is first used
        torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warned)
