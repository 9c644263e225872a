"""The row that is always in sight above the sections: settings and help, with room for more at its left."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QHBoxLayout, QPushButton, QWidget

from napari_diffseg.plugin.widgets.dialogs.help_dialog import HelpDialog
from napari_diffseg.plugin.widgets.dialogs.settings_dialog import SettingsDialog

if TYPE_CHECKING:
    from napari_diffseg.plugin.panel.remembered import Remembered
    from napari_diffseg.plugin.session.run_store import RunStore
    from napari_diffseg.plugin.session.session import Session
    from napari_diffseg.plugin.widgets.case_box import CaseBox

_MARGIN, _TOP = 9, 4


class TopRow(QWidget):
    """Opens the windows of settings and help.

    Parameters
    ----------
    session : Session
        Keeps the runs.
    case : CaseBox
        Offers kept runs.
    remembered : Remembered
        Keeps where runs are kept.
    """

    def __init__(self, session: Session, case: CaseBox, remembered: Remembered) -> None:
        super().__init__()
        self._session, self._case, self._remembered = session, case, remembered
        self.row = QHBoxLayout(self)
        self.row.setContentsMargins(_MARGIN, _TOP, _MARGIN, 0)
        self.row.addStretch(1)
        for name, text, tip, slot in (
            ("open_settings", "Settings", "Where runs are kept, how many, and what is prepared.", self._open_settings),
            ("help", "Help", "Keys, and where to read on.", self._open_help),
        ):
            button = QPushButton(text)
            button.setObjectName(f"diffseg_{name}")
            button.setToolTip(tip)
            button.clicked.connect(slot)
            self.row.addWidget(button)

    def _open_help(self) -> None:
        HelpDialog(self).exec()

    def _open_settings(self) -> None:
        wanted = self._remembered.compile_meanwhile
        dialog = SettingsDialog(self._session.store, self, compile_meanwhile=wanted)
        dialog.moved.connect(self._keep_runs_in)
        dialog.compile_toggled.connect(self._compile)
        dialog.exec()

    def _compile(self, is_wanted: bool) -> None:
        self._session.set_compile_meanwhile(is_wanted)
        self._remembered.remember_compile_meanwhile(is_wanted)

    def _keep_runs_in(self, store: RunStore) -> None:
        self._session.store = store
        self._case.reopen.set_store(store)
        self._remembered.remember_runs_folder(store.root)
