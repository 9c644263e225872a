"""How far a run is, in napari's own list of what goes on."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from qtpy.QtCore import QObject, QTimer
from qtpy.QtWidgets import QApplication, QLabel

from napari_diffseg.plugin.session.task import Phase

if TYPE_CHECKING:
    from qtpy.QtWidgets import QWidget

    from napari_diffseg.plugin.session.session import Session

_BETWEEN_MS: Final = 500
"""Each sign of progress draws the window anew."""
_AFTER_SECONDS: Final = 3.0
"""A run that is shorter needs no bar, and a longer one has its layers by then, which take time to come, too."""


class Activity(QObject):
    """A bar in napari's activity dock while a run goes on, with the time left.

    The bar is moved in a turn of its own: napari lets everything else happen meanwhile, which must not be in the midst
    of what the session tells.

    Parameters
    ----------
    session : Session
        Whose runs are shown.
    widget : QWidget
        The panel, with which this ends.
    """

    def __init__(self, session: Session, widget: QWidget) -> None:
        super().__init__(widget)
        self._session = session
        self._bar: Any = None
        self._is_making = False
        self._began: float | None = None
        self._done = self._total = 0
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._draw)
        session.progress.connect(self._hear)
        session.phase_changed.connect(self._follow)

    def prepare(self) -> None:
        """Have napari make its first bar, which takes it a third of a second, while nothing goes on."""
        if not self._is_making:
            self._make(1).close()

    def close(self) -> None:
        """Take the bar away."""
        self._timer.stop()
        self._began = None
        if self._bar is not None:
            bar, self._bar = self._bar, None
            bar.close()

    def _follow(self, phase: Phase) -> None:
        if phase is Phase.IDLE:
            self.close()

    def _hear(self, done: int, total: int, _seconds_left: float | None) -> None:
        self._done, self._total = done, total
        self._began = time.monotonic() if self._began is None else self._began
        if not self._timer.isActive():
            self._timer.start(_BETWEEN_MS)

    def _draw(self) -> None:
        began = self._began
        if began is None or time.monotonic() - began < _AFTER_SECONDS:
            return
        if self._is_making:
            self._timer.start(_BETWEEN_MS)
            return
        if self._bar is None:
            bar = self._make(self._total)
            if self._began != began:  # the run has ended while its bar was made
                bar.close()
                return
            self._bar = bar
        self._bar.update(self._done - self._bar.n)

    def _make(self, total: int) -> Any:
        """A new bar; everything else happens while napari makes it, another run's end and beginning included."""
        from napari.utils import progress

        last = self._session.runs.on_screen
        self._is_making = True
        try:
            bar = progress(total=total, desc="diffseg" if last is None else last.layer_prefix)
        finally:
            self._is_making = False
        hold_spinners()
        return bar


def hold_spinners() -> None:
    """Keep the wheel beside napari's word *activity* still: each of its turns draws the whole window anew.

    Without a graphics card that takes a quarter of a core from the sampler. The bar and the time left go on. napari
    shows a bar, and turns a wheel, in every window.
    """
    from napari.resources import LOADING_GIF_PATH

    for window in QApplication.topLevelWidgets():
        for label in window.findChildren(QLabel):
            movie = label.movie()
            if movie is not None and movie.fileName() == LOADING_GIF_PATH:
                movie.setPaused(True)
