"""What passes from the worker thread to the screen: the newest preview, and everything else in order."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from napari_diffseg.events import Finished, Found, SegmentRequest, Started, Stepped

if TYPE_CHECKING:
    from napari.layers import Layer


class Ending(Enum):
    """How a job ended."""

    DONE = "done"
    CANCELLED = "cancelled"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class StatusMessage:
    """What the job is doing now, for the status line."""

    text: str


@dataclass(frozen=True, slots=True, eq=False)
class LayerReady:
    """A layer that the job has made, for the viewer; where `unless_open`, only if its image is not open there."""

    layer: Layer
    unless_open: bool = False


@dataclass(frozen=True, slots=True)
class Ended:
    """The last item of every job. `text` is a whole sentence where it failed, `result` what the job was for.

    `error` is the class name of what went wrong, for a view that can offer a way out.
    """

    ending: Ending
    text: str = ""
    result: Any = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Timed:
    """How many seconds an evaluation of one slice takes with a checkpoint and the settings of a request.

    `sampling` tells whether a run has shown it, or only a try beforehand.
    """

    checkpoint: str
    request: SegmentRequest
    seconds: float
    sampling: bool


Item = StatusMessage | LayerReady | Timed | Started | Found | Finished | Ended


class Mailbox:
    """One job's messages. The worker puts, the GUI thread takes; neither ever waits for the other.

    A step is worth showing only until the next one, so of steps just the newest is held: a slow screen misses frames
    and never falls behind. All else is kept in order, and there is little of it.
    """

    def __init__(self) -> None:
        self._items: deque[Item] = deque()
        self._newest: Stepped | None = None
        self._newest_with_preview: Stepped | None = None

    def put(self, item: Item | Stepped) -> None:
        """Leave an item, from any thread."""
        if not isinstance(item, Stepped):
            self._items.append(item)
            return
        self._newest = item
        if item.preview is not None:
            self._newest_with_preview = item

    def take_items(self) -> list[Item]:
        """All items since the last call, oldest first, but not past a layer: each takes the window long enough."""
        taken: list[Item] = []
        while self._items and not (taken and isinstance(taken[-1], LayerReady)):
            taken.append(self._items.popleft())
        return taken

    def take_step(self) -> Stepped | None:
        """The newest step since the last call, if there was one; previews may be between its own."""
        step, self._newest = self._newest, None
        return step

    def take_preview(self) -> Stepped | None:
        """The newest step with a preview since the last call, if there was one."""
        step, self._newest_with_preview = self._newest_with_preview, None
        return step
