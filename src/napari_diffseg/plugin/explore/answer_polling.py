"""One timer that takes in whatever is worked out in other threads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from qtpy.QtCore import QObject, QTimer

if TYPE_CHECKING:
    from napari_diffseg.plugin.background.latest_only import LatestOnly

_POLL_MS: Final = 100


class AnswerPolling(QObject):
    """Polls questions that have been asked until all are answered.

    Parameters
    ----------
    parent : QObject
        With which it ends.
    """

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._watched: list[LatestOnly] = []
        self._timer = QTimer(self)
        self._timer.setInterval(_POLL_MS)
        self._timer.timeout.connect(self._poll)

    def watch(self, latest: LatestOnly) -> None:
        """Take in the answers of these questions, too."""
        self._watched.append(latest)
        latest.asked.connect(self._start)

    def close(self) -> None:
        """End for good: no answer is heard any more."""
        self._timer.stop()
        for latest in self._watched:
            latest.forget()

    def _start(self) -> None:
        self._timer.start()

    def _poll(self) -> None:
        for latest in self._watched:
            latest.poll()
        if not any(latest.is_busy for latest in self._watched):
            self._timer.stop()
