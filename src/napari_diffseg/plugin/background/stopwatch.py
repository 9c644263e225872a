"""How long an evaluation takes while a run goes on."""

from __future__ import annotations

import time


class Stopwatch:
    """Sees how many evaluations are done, and when; rests are not counted."""

    def __init__(self) -> None:
        self._seconds, self._evaluations = 0.0, 0
        self._before: tuple[float, int] | None = None

    @property
    def seconds_each(self) -> float | None:
        """Seconds an evaluation, between the first step seen and the last; None before there are two."""
        return self._seconds / self._evaluations if self._evaluations else None

    def see(self, done: int) -> None:
        """So many evaluations are done by now."""
        now = time.perf_counter()
        if self._before is not None:
            self._seconds += now - self._before[0]
            self._evaluations += done - self._before[1]
        self._before = now, done

    def rest(self) -> None:
        """Leave out the time until the next step."""
        self._before = None
