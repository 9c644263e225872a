"""Slices that are to be drawn, a few in each turn of the window's event loop."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class SliceQueue:
    """Slices in the order in which they are drawn: from the one that is looked at outwards."""

    def __init__(self) -> None:
        self._slices: list[int] = []
        self._is_new = False

    def __bool__(self) -> bool:
        return bool(self._slices)

    def only(self, slices: Iterable[int], *, here: int) -> None:
        """Draw these and no others, beginning with the one nearest to `here`."""
        self._slices = sorted(slices, key=lambda s: abs(s - here), reverse=True)
        self._is_new = True

    def add(self, slices: Iterable[int], *, here: int) -> None:
        """Draw these, too; what is looked at has been drawn, so they are shown once all are there."""
        is_new = self._is_new
        self.only({*self._slices, *slices}, here=here)
        self._is_new = is_new

    def draw(self, draw: Callable[[int], None], seconds: float) -> bool:
        """Draw one, and others for about so many seconds.

        Returns
        -------
        bool
            Whether it is time to show what is drawn: the slice that is looked at, or all of them.
        """
        until = time.monotonic() + seconds
        draw(self._slices.pop())
        while self._slices and time.monotonic() < until:
            draw(self._slices.pop())
        is_time, self._is_new = self._is_new or not self._slices, False
        return is_time
