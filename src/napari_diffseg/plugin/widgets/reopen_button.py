"""The button that offers the runs that are kept on this machine."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from qtpy.QtCore import QUrl, Signal
from qtpy.QtGui import QAction, QDesktopServices
from qtpy.QtWidgets import QFileDialog, QMenu, QPushButton

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_diffseg.plugin.session.run_store import RunStore

_OFFERED: Final = 8


class ReopenButton(QPushButton):
    """Its menu lists the newest runs, which is read when it opens."""

    asked = Signal(str)
    """The folder of a run."""

    def __init__(self, store: RunStore) -> None:
        super().__init__("Reopen")
        self.setObjectName("diffseg_reopen")
        self.setToolTip("Bring back a run with its images, members and settings; every run is kept as it is made.")
        self._store = store
        self._menu = QMenu(self)
        self._menu.setToolTipsVisible(True)
        self._menu.aboutToShow.connect(self.fill)
        self.setMenu(self._menu)

    def set_store(self, store: RunStore) -> None:
        """Runs are kept elsewhere from now on."""
        self._store = store

    def fill(self) -> None:
        """List what there is now."""
        menu = self._menu
        menu.clear()
        for n, run in enumerate(self._store.newest(_OFFERED)):
            text = f"{'Last run: ' if n == 0 else ''}{run.words}".replace("&", "&&")
            _add(menu, text, partial(self._ask, str(run.folder))).setToolTip(str(run.folder))
        if menu.isEmpty():
            _add(menu, "No run is kept yet", None).setEnabled(False)
        menu.addSeparator()
        _add(menu, "Another folder…", self._ask_folder)
        show = _add(menu, "Show kept runs", self._show_folder)
        show.setToolTip(str(self._store.root))
        show.setEnabled(self._store.root.is_dir())

    def _ask(self, folder: str, _checked: bool = False) -> None:
        self.asked.emit(folder)

    def _ask_folder(self, _checked: bool = False) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Folder that a run left")
        if folder:
            self.asked.emit(folder)

    def _show_folder(self, _checked: bool = False) -> None:
        QDesktopServices.openUrl(QUrl.fromLocalFile(str(self._store.root)))


def _add(menu: QMenu, text: str, slot: Callable[..., None] | None) -> QAction:
    action = QAction(text, menu)
    if slot is not None:
        action.triggered.connect(slot)
    menu.addAction(action)
    return action
