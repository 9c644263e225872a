"""What the engine has to say, written by a thread of its own, so that sampling never waits for previews to cross."""

from __future__ import annotations

import logging
import threading
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, BinaryIO, Final

from napari_diffseg.errors import EngineFailed
from napari_diffseg.events import Stepped
from napari_diffseg.remote.event_messages import as_message, in_parts, is_lasting
from napari_diffseg.remote.frames import frame_bytes
from napari_diffseg.remote.messages import Failed, Message, header_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_diffseg.events import Preview
    from napari_diffseg.remote.event_messages import Event

logger = logging.getLogger(__name__)

MOST_KEPT: Final = 1 << 28
"""Bytes that an engine keeps of what has not arrived; from there on sampling waits."""
_UNDER_WAY: Final = 2
"""Previews that may be under way at once: one crosses while the other's arrival is on its way back."""
_STEPS_WAIT: Final = 64
"""Waiting messages from which on a step takes the place of the step before it."""
_FULL: Final = 256
"""Waiting messages from which on sampling waits: the link is slower than the engine."""


@dataclass(frozen=True, slots=True)
class _Told:
    """An event of a run, or its end; those that must not be lost are counted from 1, the others are 0."""

    run: int
    count: int
    what: Event | Message


@dataclass(frozen=True, slots=True)
class _Kept:
    """A frame that has perhaps not arrived."""

    run: int
    count: int
    frame: bytes


class Outbox:
    """Messages and events on their way to the other end, in order.

    A preview goes only while few are under way, which is as fast as the link takes them; of those that cannot go the
    newest waits for a place, and goes with the next step.

    Parameters
    ----------
    stream : binary file, optional
        What is written to; None while there is no link.
    most_kept : int
        Bytes of events that must not be lost which are kept until the other end says that they have arrived, so that
        another link can go on where one was lost. 0: none are.
    """

    def __init__(self, stream: BinaryIO | None, *, most_kept: int = 0) -> None:
        self._stream, self._most_kept = stream, most_kept
        self._changed = threading.Condition()
        self._waiting: deque[Message | _Told] = deque()
        self._again: deque[bytes] = deque()
        self._kept: deque[_Kept] = deque()
        self._kept_bytes = 0
        self._previews_sent = self._previews_seen = 0
        self._held: Preview | None = None
        self._run, self._count = 0, 0
        self._closed = False
        self._thread = threading.Thread(target=self._write_all, name="engine-outbox", daemon=True)
        self._thread.start()

    @property
    def keeps_something(self) -> bool:
        """Whether there is something of a run that has perhaps not arrived."""
        return bool(self._kept)

    def put(self, message: Message) -> None:
        """Let a message follow what waits."""
        with self._changed:
            self._waiting.append(message)
            self._changed.notify_all()

    def begin(self, run: int) -> None:
        """A run begins: its previews and lasting events are counted anew."""
        with self._changed:
            self._previews_sent = self._previews_seen = 0
            self._held = None
            self._run, self._count = run, 0
            self._drop(lambda kept: True)

    def tell(self, run: int, event: Event) -> None:
        """Let an event of a run follow what waits; waits while far too much does."""
        for part in in_parts(event):
            self._tell(run, part)

    def _tell(self, run: int, event: Event) -> None:
        with self._changed:
            self._changed.wait_for(lambda: len(self._waiting) < _FULL or self._closed)
            if isinstance(event, Stepped):
                event = self._with_preview(event)
                if len(self._waiting) > _STEPS_WAIT and self._replace_last(run, event):
                    return
            self._waiting.append(_Told(run, self._next_count() if is_lasting(event) else 0, event))
            self._changed.notify_all()

    def end(self, run: int, message: Message) -> None:
        """Tell of the end of a run, which must not be lost either."""
        with self._changed:
            self._waiting.append(_Told(run, self._next_count() if run == self._run else 0, message))
            self._changed.notify_all()

    def forget(self, run: int) -> None:
        """Nobody waits for that run any more."""
        with self._changed:
            if run == self._run:
                self._run = 0
            self._drop(lambda kept: kept.run == run)

    def has(self, run: int | None) -> bool:
        """Whether something of that run has perhaps not arrived."""
        with self._changed:
            waiting = (item.run for item in self._waiting if isinstance(item, _Told))
            return run is not None and run in {*waiting, *(kept.run for kept in self._kept)}

    def _next_count(self) -> int:
        self._count += 1
        return self._count

    def seen(self, run: int, *, previews: int, events: int) -> None:
        """So many previews of a run have arrived, and so many of its lasting events, which need not be kept."""
        with self._changed:
            self._previews_seen = max(self._previews_seen, min(previews, self._previews_sent))
            self._drop(lambda kept: kept.run == run and kept.count <= events)

    def attach(self, stream: BinaryIO, welcome: Message, *, run: int | None, have: int) -> None:
        """Write to another link from now on.

        Parameters
        ----------
        stream : binary file
            What is written to.
        welcome : Message
            What is said first.
        run : int or None
            The run that goes on; what is kept of others is dropped.
        have : int
            How many of its lasting events have arrived: the others are told again.
        """
        with self._changed:
            self._drop(lambda kept: kept.run != run or kept.count <= have)
            self._waiting = deque(item for item in self._waiting if isinstance(item, _Told) and item.run == run)
            self._again = deque([frame_bytes(header_of(welcome)), *(kept.frame for kept in self._kept)])
            self._previews_sent = self._previews_seen = 0  # the newest one is held, and goes with the next step
            self._stream = stream
            self._changed.notify_all()

    def detach(self, stream: BinaryIO | None = None) -> None:
        """The link is lost, or the one of that stream is: what must not be lost is kept, within bounds."""
        with self._changed:
            if stream is None or stream is self._stream:
                self._stream = None
                self._again.clear()
                if not self._most_kept:  # nobody comes back
                    self._closed = True
                    self._waiting.clear()
            self._changed.notify_all()

    def close(self) -> None:
        """Write what waits, and end."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(timeout=10)

    def _drop(self, is_needless: Callable[[_Kept], bool]) -> None:
        self._kept = deque(kept for kept in self._kept if not is_needless(kept))
        self._kept_bytes = sum(len(kept.frame) for kept in self._kept)
        self._changed.notify_all()

    def _with_preview(self, event: Stepped) -> Stepped:
        newest = event.preview or self._held
        if newest is None:
            return event
        if self._previews_sent - self._previews_seen >= _UNDER_WAY:
            self._held = newest
            return replace(event, preview=None)
        self._previews_sent += 1
        self._held = None
        return replace(event, preview=newest)

    def _replace_last(self, run: int, event: Stepped) -> bool:
        """Whether the last that waits was a step of the run without a preview, and is this one now."""
        last = self._waiting[-1]
        if not isinstance(last, _Told) or last.run != run:
            return False
        if not isinstance(last.what, Stepped) or last.what.preview is not None:
            return False
        self._waiting[-1] = _Told(run, 0, event)
        return True

    def _write_all(self) -> None:
        while (item := self._next()) is not None:
            if isinstance(item, tuple):
                self._write(*item)
            else:
                self._pass_on(item)

    def _next(self) -> Message | _Told | tuple[BinaryIO, bytes] | None:
        """What is to be written next: first what is told again; None at the end."""
        with self._changed:
            self._changed.wait_for(self._has_next)
            if self._again and self._stream is not None:
                return self._stream, self._again.popleft()
            if not self._waiting or (self._closed and self._stream is None):
                return None
            item = self._waiting.popleft()
            self._changed.notify_all()
            return item

    def _has_next(self) -> bool:
        if self._closed or (self._again and self._stream is not None):
            return True
        return bool(self._waiting) and (self._kept_bytes < self._most_kept or not self._most_kept)

    def _pass_on(self, item: Message | _Told) -> None:
        frame = _framed(item)
        with self._changed:
            if isinstance(item, _Told) and self._most_kept:
                self._keep(item, frame)
            if self._again:  # another link has come meanwhile, and this follows what is told again
                self._again.append(frame)
                return
            stream = self._stream
        self._write(stream, frame)

    def _keep(self, item: _Told, frame: bytes) -> None:
        if item.run == self._run and item.count:
            self._kept.append(_Kept(item.run, item.count, frame))
            self._kept_bytes += len(frame)

    def _write(self, stream: BinaryIO | None, frame: bytes) -> None:
        """Write a frame; where nobody reads any more the link is lost, which the thread that reads sees, too."""
        if stream is None:
            return
        try:
            stream.write(frame)
            stream.flush()
        except (OSError, ValueError):
            self.detach(stream)


def _framed(item: Message | _Told) -> bytes:
    """Something as a frame; if it cannot be one the other end is told, which would wait for it for ever."""
    number = item.run if isinstance(item, _Told) else item.id
    try:
        what = item.what if isinstance(item, _Told) else item
        if isinstance(what, Message):
            return frame_bytes(header_of(what))
        assert isinstance(item, _Told)  # nothing else has an event
        message, blocks = as_message(what, run=item.run, count=item.count)
        return frame_bytes(header_of(message), blocks)
    except Exception as err:
        logger.exception("This cannot be told.")
        said = str(err) if isinstance(err, EngineFailed) else "The engine's answer has no form: please report it."
        return frame_bytes(header_of(Failed(id=number, error=EngineFailed.__name__, text=said)))
