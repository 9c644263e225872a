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
def stop_between_steps(accelerator: Accelerator) -> Iterator[Callable[[], bool]]:
    """Within, the first interrupt or SIGTERM only makes the given function say True, in all processes alike.

    A second one does what it always does. Schedulers of clusters send SIGTERM a while before they kill.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: bool(accelerator.check_trigger())  # only the main thread may handle signals
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def note(number: int, frame: FrameType | None) -> None:
        accelerator.set_trigger()
        signal.signal(number, before[signal.Signals(number)])

    for number in before:
        signal.signal(number, note)
    try:
        yield lambda: bool(accelerator.check_trigger())
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
    if enabled:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it when it is first used
        torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
