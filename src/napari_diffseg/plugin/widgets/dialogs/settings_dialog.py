"""The window of what is set for all runs: where they are kept and how many, and whether networks are compiled."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import QUrl, Signal
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QVBoxLayout,
    QWidget,
)

from napari_diffseg.errors import OutputFailed
from napari_diffseg.plugin.session.run_store import KEEP_CHOICES, RunStore
from napari_diffseg.plugin.widgets.controls import breakable
from napari_diffseg.plugin.widgets.named import named_button, named_label

_WHAT = (
    "Every run is kept as it is made, so that Reopen can bring it back. Of more runs than these the oldest are "
    "removed; runs that are open or unfinished, and those with a mask that you edited, stay."
)
_COMPILE_TIP = (
    "While the first run with a checkpoint goes on, its network is compiled in another process of low priority, which "
    "takes about a minute; later runs use it. Without an NVIDIA GPU this changes nothing."
)


class SettingsDialog(QDialog):
    """Takes effect at once, for the next run.

    Parameters
    ----------
    store : RunStore
        Where runs are kept now.
    parent : QWidget
        Over which it opens.
    compile_meanwhile : bool
        Whether networks are compiled for a GPU beside runs.
    """

    moved = Signal(object)
    """The RunStore in which runs are to be kept from now on; those of before stay where they are."""
    compile_toggled = Signal(bool)
    """Whether networks are compiled for a GPU beside runs."""

    def __init__(self, store: RunStore, parent: QWidget, *, compile_meanwhile: bool = True) -> None:
        super().__init__(parent)
        self.setObjectName("diffseg_settings_window")
        self.setToolTip("Where runs are kept, how many, and what is prepared.")
        self.setWindowTitle("Settings: Diffusion ensemble")
        self.setMinimumWidth(420)
        self._store = store
        self.place = named_label("runs_folder", "The folder in which each run has a folder of its own.")
        self.change = named_button("change_runs_folder", "Change…", "Keep the next runs in another folder.")
        self.change.clicked.connect(self._ask_folder)
        self.open_folder = named_button("open_runs_folder", "Open folder", "Open it in the file manager.")
        self.open_folder.clicked.connect(self._open_folder)
        self.keep = QComboBox()
        self.keep.setObjectName("diffseg_keep_runs")
        self.keep.setToolTip("How many of the newest runs are kept.")
        self.keep.activated.connect(self._keep)
        self.compile = QCheckBox("Prepare a faster version of a network for an NVIDIA GPU")
        self.compile.setObjectName("diffseg_compile_meanwhile")
        self.compile.setToolTip(_COMPILE_TIP)
        self.compile.setChecked(compile_meanwhile)
        self.compile.toggled.connect(self.compile_toggled)
        self.failure = named_label("settings_failure", "Why it could not be changed.")
        self._lay_out()
        self._show()

    def _lay_out(self) -> None:
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        buttons.rejected.connect(self.reject)
        row, count = QHBoxLayout(), QHBoxLayout()
        for widget in (self.change, self.open_folder):
            row.addWidget(widget)
        count.addWidget(QLabel("Keep the newest"))
        count.addWidget(self.keep, 1)
        what = named_label("settings_note", "What is kept.")
        what.setText(_WHAT)
        layout = QVBoxLayout(self)
        layout.addWidget(QLabel("Runs are kept in"))
        layout.addWidget(self.place)
        layout.addLayout(row)
        layout.addLayout(count)
        layout.addWidget(what)
        layout.addWidget(self.compile)
        layout.addWidget(self.failure)
        layout.addWidget(buttons)

    def _show(self, failure: str = "") -> None:
        self.place.setText(breakable(str(self._store.root)))
        self.open_folder.setEnabled(self._store.root.is_dir())
        present = self._store.keep
        self.keep.clear()
        for count in sorted({*KEEP_CHOICES, present}, key=lambda n: n or float("inf")):
            self.keep.addItem(f"{count} runs" if count else "all runs", count)
        self.keep.setCurrentIndex(self.keep.findData(present))
        self.failure.setText(breakable(failure))
        self.failure.setVisible(bool(failure))

    def _ask_folder(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Folder for the next runs", str(self._store.root))
        if folder:
            self.keep_in(Path(folder))

    def keep_in(self, folder: Path) -> None:
        """Keep the next runs in another folder, as many as before, unless nothing can be written there."""
        store = RunStore(folder)
        try:
            store.set_keep(self._store.keep)
        except OutputFailed as err:
            self._show(str(err))
            return
        self._store = store
        self._show()
        self.moved.emit(store)

    def _open_folder(self) -> None:
        QDesktopServices.openUrl(QUrl.fromLocalFile(str(self._store.root)))

    def _keep(self, _place: int) -> None:
        try:
            self._store.set_keep(self.keep.currentData())
        except OutputFailed as err:
            self._show(str(err))
