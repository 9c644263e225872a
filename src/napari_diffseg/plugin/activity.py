"""How far a run is, in napari's own list of what goes on."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from napari_diffseg.plugin.task import Phase

if TYPE_CHECKING:
    from napari_diffseg.plugin.session import Session

_SECONDS_BETWEEN: Final = 0.5
"""Each sign of progress draws the window anew."""


class Activity:
    """A bar in napari's activity dock while a run goes on, with the time left.

    Parameters
    ----------
    session : Session
        Whose runs are shown.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._bar: Any = None
        self._told = 0.0
        session.progress.connect(self._show)
        session.phase_changed.connect(self._follow)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _follow(self, phase: Phase) -> None:
        if phase is Phase.IDLE:
            self.close()

    def _show(self, done: int, total: int, _seconds_left: float | None) -> None:
        from napari.utils import progress

        now = time.monotonic()
        if self._bar is None:
            last = self._session.runs.last
            self._bar = progress(total=total, desc="diffseg" if last is None else last.layer_prefix)
        elif now - self._told < _SECONDS_BETWEEN and done < total:
            return
        self._told = now
        self._bar.update(done - self._bar.n)
