"""How often the window asks for new results: often, but never at the cost of the sampler."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from qtpy.QtCore import QObject, QTimer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

POLL_MS: Final = 66
_SOON_MS: Final = 15
"""After a look that found nothing, which costs next to nothing."""
_NOTHING_MS: Final = 1.0
_REST: Final = 3
"""Time between looks, in multiples of what one costs: the sampler gets three quarters of a slow machine."""
_SLOWEST_MS: Final = 500


class Polling(QObject):
    """Calls a function again and again while something goes on: as often as the screen can follow.

    What a look costs is its own time and, because painting happens after it, how late the timer came. One that finds
    nothing costs nothing, and is soon followed by another, so that what comes first is seen at once.

    Parameters
    ----------
    look : callable
        Takes in what is new.
    parent : QObject
        With which it ends.
    """

    def __init__(self, look: Callable[[], None], parent: QObject) -> None:
        super().__init__(parent)
        self._take_in = look
        self._going = False
        self._due = self._excused = 0.0
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._look)

    def start(self) -> None:
        """Look again and again; where it does already, nothing happens."""
        if not self._going:
            self._going = True
            self._wait(_SOON_MS)

    def stop(self) -> None:
        """Look no more."""
        self._going = False
        self._timer.stop()

    def excuse(self, seconds: float) -> None:
        """The window was kept for so long by something that does not come again with every look."""
        self._due += seconds
        self._excused += seconds

    @contextmanager
    def excused(self) -> Iterator[None]:
        """Excuse what is done meanwhile."""
        began = time.monotonic()
        yield
        self.excuse(time.monotonic() - began)

    def _wait(self, milliseconds: float) -> None:
        self._due = time.monotonic() + milliseconds / 1000
        self._timer.start(round(milliseconds))

    def _look(self) -> None:
        began = time.monotonic()
        late_ms = 1000 * max(began - self._due, 0.0)
        self._excused = 0.0
        self._take_in()
        own_ms = 1000 * (time.monotonic() - began - self._excused)
        if self._going:
            found = own_ms > _NOTHING_MS
            self._wait(min(max(POLL_MS, _REST * (late_ms + own_ms)), _SLOWEST_MS) if found else _SOON_MS)
