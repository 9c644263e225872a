"""Corrections of masks: noticed as they are painted, kept on disk every few seconds, and measured."""

from __future__ import annotations

import logging
import zlib
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from qtpy.QtCore import QObject, QTimer, Signal

from napari_diffseg.errors import DiffsegError
from napari_diffseg.plugin.background.latest_only import LatestOnly, job_of
from napari_diffseg.runs.edited_mask import write_edited

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from pathlib import Path

    import numpy.typing as npt

    from napari_diffseg.imaging.volume import Volume
    from napari_diffseg.plugin.background.latest_only import Launcher
    from napari_diffseg.plugin.explore.answer_polling import AnswerPolling
    from napari_diffseg.plugin.layers.edited_layer import EditedLayer
    from napari_diffseg.plugin.layers.result_layers import ResultLayers
    from napari_diffseg.plugin.session.run_result import RunResult
    from napari_diffseg.runs.edited_mask import EditedMask

    Key = tuple[str, int]
    Unsaved = dict[Key, tuple[Path, EditedMask, Volume]]

logger = logging.getLogger(__name__)

_SOON_MS: Final = 1000
"""After the last stroke."""


class Editing(QObject):
    """Keeps every correction, whichever run is on the screen.

    Parameters
    ----------
    results : ResultLayers
        Tells of corrections.
    folder_of : callable (RunResult)
        Where a run is kept; None where it is not known any more.
    launch : callable (target, stop)
        Runs `target()`, which never raises, in another thread.
    polling : AnswerPolling
        Hears when the files are written.
    """

    changed = Signal()
    """A correction is another, or there is one more: what is measured of it is to be measured again."""
    failed = Signal(str)
    """Why a correction could not be kept on disk."""

    def __init__(
        self,
        results: ResultLayers,
        folder_of: Callable[[RunResult], Path | None],
        *,
        launch: Launcher,
        polling: AnswerPolling,
    ) -> None:
        super().__init__()
        self._folder_of = folder_of
        self._known: dict[Key, tuple[RunResult, EditedLayer, Path | None, int]] = {}
        self._unsaved: Unsaved = {}
        self._saving = LatestOnly(launch=launch)
        self._saving.answered.connect(self._saved)
        self._saving.failed.connect(self.failed.emit)
        polling.watch(self._saving)
        results.edited.connect(self._watch)
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.setInterval(_SOON_MS)
        self._soon.timeout.connect(self.look)

    def look(self) -> None:
        """Look at what was painted, and begin to write it."""
        if self._take_changes():
            self._saving.ask(job_of(partial(_write, dict(self._unsaved))))
            self.changed.emit()

    def keep_now(self) -> None:
        """Write what is not written yet, here: the panel closes, or the layers are about to go."""
        self._soon.stop()
        self._take_changes()
        unsaved, self._unsaved = self._unsaved, {}
        try:
            _write(unsaved)
        except DiffsegError as err:
            self.failed.emit(str(err))
            logger.warning("A correction could not be kept: %s", err)

    def close(self) -> None:
        """Write what is not written yet, and leave the layers alone."""
        self.keep_now()
        for _, edited, _, _ in self._known.values():
            for event in _events_of(edited):
                event.disconnect(self._touched)
        self._known = {}

    def _watch(self, result: RunResult, edited: EditedLayer) -> None:
        kept = result.edited.get(edited.number)
        digest = -1 if kept is None else _digest(kept.mask)
        self._known[result.prefix, edited.number] = (result, edited, self._folder_of(result), digest)
        for event in _events_of(edited):
            event.connect(self._touched)
        self._soon.start()

    def _touched(self, _event: object = None) -> None:
        """It may have been painted in; an undo tells of nothing but that the layer is drawn anew."""
        if not self._soon.isActive():
            self._soon.start()

    def _take_changes(self) -> bool:
        """Take a copy of every correction that is another than when it was looked at last; whether there is one."""
        changed = False
        for key, (result, edited, folder, digest) in self._known.items():
            now = _digest(edited.frame.to_source(np.asarray(edited.layer.data)))
            if now == digest:
                continue
            changed = True
            snapshot = result.edited[edited.number] = edited.snapshot()
            self._known[key] = (result, edited, folder, now)
            if folder is not None:
                self._unsaved[key] = (folder, snapshot, edited.frame.volume)
        return changed

    def _saved(self, written: Unsaved) -> None:
        for key, entry in written.items():
            if self._unsaved.get(key) is entry:
                del self._unsaved[key]


def _events_of(edited: EditedLayer) -> tuple[Any, ...]:
    events: Any = edited.layer.events
    return events.paint, events.data, events.set_data


def _digest(mask: npt.NDArray[Any]) -> int:
    return zlib.crc32(np.ascontiguousarray(mask, np.uint8).tobytes())


def _write(unsaved: Unsaved, _stop: threading.Event | None = None) -> Unsaved:
    for folder, edited, grid in unsaved.values():
        write_edited(folder, edited, grid)
    return unsaved
