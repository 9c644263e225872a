"""How far ahead of the device the host may be, and copies that it does not wait for."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

_MOST_IN_FLIGHT = 2


class Mark(Protocol):
    """A place in a device's queue of work, such as `torch.cuda.Event`."""

    def query(self) -> bool:
        """Whether the device has got there."""
        ...

    def synchronize(self) -> None:
        """Wait until it has."""
        ...


def marker_of(device: torch.device) -> Callable[[], Mark] | None:
    """What puts a mark into the device's queue; None for one that has done its work when a call returns."""
    if device.type != "cuda":
        return None

    def mark() -> Mark:
        event: torch.cuda.Event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        event.record(torch.cuda.current_stream(device))  # the thread's own device may be another
        return event

    return mark


class Pace:
    """Keeps at most two steps in a device's queue, so that there is always work and a cancel is answered in time.

    Parameters
    ----------
    mark : callable or None
        As `marker_of` gives it.
    """

    def __init__(self, mark: Callable[[], Mark] | None) -> None:
        self._mark = mark
        self._marks: deque[Mark] = deque()

    def step(self) -> None:
        """A step has been asked of the device; waits for the one two before."""
        if self._mark is None:
            return
        self._marks.append(self._mark())
        if len(self._marks) > _MOST_IN_FLIGHT:
            self._marks.popleft().synchronize()


class HostCopy:
    """Tensors on their way to the host, bool or float32; from a GPU into pinned memory, beside its work.

    Parameters
    ----------
    tensors : sequence of Tensor
        Must not change before the copy is ready.
    mark : callable or None
        As `marker_of` gives it.
    """

    def __init__(self, tensors: Sequence[torch.Tensor], mark: Callable[[], Mark] | None) -> None:
        self._sources = list(tensors)
        self._copies = [
            torch.empty(t.shape, dtype=_on_host(t), pin_memory=on_cuda).copy_(t, non_blocking=on_cuda)
            for t, on_cuda in ((t, t.device.type == "cuda") for t in tensors)
        ]
        self._mark = None if mark is None else mark()

    def is_ready(self) -> bool:
        """Whether `arrays` has all numbers."""
        return self._mark is None or self._mark.query()

    def arrays(self) -> list[npt.NDArray[Any]]:
        """The copies; waits where they are not ready."""
        if self._mark is not None and not self.is_ready():
            self._mark.synchronize()
        self._sources.clear()
        return [copy.numpy() for copy in self._copies]


def _on_host(tensor: torch.Tensor) -> torch.dtype:
    return torch.bool if tensor.dtype == torch.bool else torch.float32
