"""Draws what the result layers have put off, a little in each turn of the window's event loop."""

from __future__ import annotations

import time
from contextlib import nullcontext
from typing import TYPE_CHECKING, Final

from qtpy.QtCore import QObject, QTimer

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_diffseg.plugin.canvas.painting import Painting
    from napari_diffseg.plugin.layers.result_layers import ResultLayers

_TURN_S: Final = 0.015
"""Time for drawing an ensemble anew before the window gets its turn again."""
_LEAST_REST_MS: Final = 30
"""After a layer was added, so that it is painted, and previews are, before the next."""


class CatchingUp(QObject):
    """Lets result layers catch up while they are behind.

    Parameters
    ----------
    results : ResultLayers
        What may be behind.
    done : callable
        Called whenever they have caught up.
    took : callable (seconds)
        StatusMessage how long each layer that was added kept the window.
    painting : Painting
        Paints a layer that was added in the turn after.
    parent : QObject
        With which it ends.
    """

    def __init__(
        self,
        results: ResultLayers,
        done: Callable[[], None],
        *,
        took: Callable[[float], None],
        painting: Painting,
        parent: QObject,
    ) -> None:
        super().__init__(parent)
        self._results, self._done, self._took, self._painting = results, done, took, painting
        self._is_asked = False
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._turn)

    def start(self) -> None:
        """Begin in the next turn of the event loop; `done` is called even where nothing is behind."""
        self._is_asked = True
        self._start()

    def _start(self) -> None:
        if not self._timer.isActive():
            self._timer.start(0)

    def start_if_behind(self) -> None:
        """Begin where something is behind; `done` is called where a layer was to be added."""
        if self._results.is_behind:
            self._start()

    def stop(self) -> None:
        """Leave undone what is undone."""
        self._timer.stop()

    def _turn(self) -> None:
        adds, began = self._results.arriving.is_due, time.monotonic()
        with self._painting.put_off() if adds else nullcontext():
            is_behind = self._results.catch_up(_TURN_S)
        seconds = time.monotonic() - began
        if adds:
            self._is_asked = True
            self._took(seconds)
        if is_behind:
            self._timer.start(max(round(1000 * seconds), _LEAST_REST_MS) if adds else 0)
        elif self._is_asked:
            self._is_asked = False
            self._done()
