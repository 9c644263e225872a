"""How far a run is, in napari's own list of what goes on."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from qtpy.QtWidgets import QLabel

from napari_diffseg.plugin.task import Phase

if TYPE_CHECKING:
    from qtpy.QtWidgets import QWidget

    from napari_diffseg.plugin.session import Session

_SECONDS_BETWEEN: Final = 0.5
"""Each sign of progress draws the window anew."""
_AFTER_SECONDS: Final = 3.0
"""A run that is shorter needs no bar, and a longer one has its layers by then, which take time to come, too."""


class Activity:
    """A bar in napari's activity dock while a run goes on, with the time left.

    Parameters
    ----------
    session : Session
        Whose runs are shown.
    widget : QWidget
        The panel, in the window whose spinner is held.
    """

    def __init__(self, session: Session, widget: QWidget) -> None:
        self._session, self._widget = session, widget
        self._bar: Any = None
        self._began: float | None = None
        self._told = 0.0
        session.progress.connect(self._show)
        session.phase_changed.connect(self._follow)

    def prepare(self) -> None:
        """Have napari make its first bar, which takes it a third of a second, while nothing goes on."""
        self._make(1)
        self.close()

    def close(self) -> None:
        """Take the bar away."""
        self._began = None
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _follow(self, phase: Phase) -> None:
        if phase is Phase.IDLE:
            self.close()

    def _show(self, done: int, total: int, _seconds_left: float | None) -> None:
        now = time.monotonic()
        self._began = now if self._began is None else self._began
        if now - self._began < _AFTER_SECONDS:
            return
        if self._bar is None:
            self._make(total)
        elif now - self._told < _SECONDS_BETWEEN and done < total:
            return
        self._told = now
        self._bar.update(done - self._bar.n)

    def _make(self, total: int) -> None:
        from napari.utils import progress

        last = self._session.runs.last
        self._bar = progress(total=total, desc="diffseg" if last is None else last.layer_prefix)
        hold_spinner(self._widget.window())


def hold_spinner(window: QWidget | None) -> None:
    """Keep the wheel beside napari's word *activity* still: each of its turns draws the whole window anew.

    Without a graphics card that takes a quarter of a core from the sampler. The bar and the time left go on.
    """
    for label in [] if window is None else window.findChildren(QLabel):
        movie = label.movie()
        if movie is not None:
            movie.setPaused(True)
