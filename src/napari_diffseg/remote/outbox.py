"""What the engine has to say, written by a thread of its own, so that sampling never waits for previews to cross."""

from __future__ import annotations

import logging
import threading
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, BinaryIO, Final

from pydantic import ValidationError

from napari_diffseg.errors import EngineFailed
from napari_diffseg.events import Stepped
from napari_diffseg.remote.event_messages import as_message, in_parts, is_lasting
from napari_diffseg.remote.frames import write_frame
from napari_diffseg.remote.messages import Failed, header_of

if TYPE_CHECKING:
    from napari_diffseg.events import Preview
    from napari_diffseg.remote.event_messages import Event
    from napari_diffseg.remote.messages import Message

logger = logging.getLogger(__name__)

_UNDER_WAY: Final = 2
"""Previews that may be under way at once: one crosses while the other's arrival is on its way back."""
_STEPS_WAIT: Final = 64
"""Waiting messages from which on a step takes the place of the step before it."""
_FULL: Final = 256
"""Waiting messages from which on sampling waits: the link is slower than the engine."""


class Outbox:
    """Messages and events on their way to the other end, in order.

    A preview goes only while few are under way, which is as fast as the link takes them; of those that cannot go the
    newest waits for a place, and goes with the next step.

    Parameters
    ----------
    stream : binary file
        What is written to.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._changed = threading.Condition()
        self._waiting: deque[Message | tuple[int, int, Event]] = deque()
        self._previews_sent = self._previews_seen = 0
        self._held: Preview | None = None
        self._counts: dict[int, int] = {}
        self._closed = False
        self._thread = threading.Thread(target=self._write_all, name="engine-outbox", daemon=True)
        self._thread.start()

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
            self._counts = {run: 0}

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
            if is_lasting(event):
                self._counts[run] = self._counts.get(run, 0) + 1
            self._waiting.append((run, self._counts.get(run, 0) if is_lasting(event) else 0, event))
            self._changed.notify_all()

    def seen(self, previews: int) -> None:
        """So many previews have arrived."""
        with self._changed:
            self._previews_seen = max(self._previews_seen, min(previews, self._previews_sent))

    def close(self) -> None:
        """Write what waits, and end."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(timeout=10)

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
        if not isinstance(last, tuple) or last[0] != run:
            return False
        if not isinstance(last[2], Stepped) or last[2].preview is not None:
            return False
        self._waiting[-1] = (run, 0, event)
        return True

    def _write_all(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._waiting) or self._closed)
                if not self._waiting:
                    return
                item = self._waiting.popleft()
                self._changed.notify_all()
            try:
                self._write_or_refuse(item)
            except OSError:  # nobody reads any more: the other thread sees that, too, and ends the engine
                with self._changed:
                    self._closed = True
                    self._waiting.clear()
                    self._changed.notify_all()
                return

    def _write_or_refuse(self, item: Message | tuple[int, int, Event]) -> None:
        """Write something; if it cannot be put into a frame the other end is told, which would wait for it for ever."""
        try:
            self._write(item)
        except (EngineFailed, ValidationError) as err:
            logger.exception("This cannot be told.")
            said = err if isinstance(err, EngineFailed) else "The engine's answer has no form: please report it."
            number = item[0] if isinstance(item, tuple) else item.id
            self._write(Failed(id=number, error=EngineFailed.__name__, text=str(said)))

    def _write(self, item: Message | tuple[int, int, Event]) -> None:
        if isinstance(item, tuple):
            run, count, event = item
            message, blocks = as_message(event, run=run, count=count)
            write_frame(self._stream, header_of(message), blocks)
        else:
            write_frame(self._stream, header_of(item))
