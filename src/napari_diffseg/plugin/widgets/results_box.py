"""The one place for all that comes after a run: what was found, how it is shown, export, and the list of runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, QUrl, Signal
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QGridLayout, QGroupBox, QMessageBox, QSpinBox, QVBoxLayout, QWidget

from napari_diffseg.plugin.widgets.controls import guard_from_wheel
from napari_diffseg.plugin.widgets.named import named_button

if TYPE_CHECKING:
    from pathlib import Path

    from napari_diffseg.plugin.widgets.explore_box import ExploreBox
    from napari_diffseg.plugin.widgets.result_box import ResultBox
    from napari_diffseg.plugin.widgets.runs_box import RunsBox

_MORE, _MOST_MORE = 5, 999
_MORE_TIP = "Add members to the run on screen, with its own settings; those it has are not sampled again."
_EXPORT_TIP = "Write mask, mean, uncertainty and members of the run on screen as NIfTI files."


class ResultActions(QWidget):
    """What can be done with the run on the screen: export it, open what was exported, add members, finish it."""

    more_asked = Signal(int)
    """How many members to add to the run; 0 to finish one that was stopped."""
    export_asked = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._exported: Path | None = None
        self.export = named_button("export", "Export…", _EXPORT_TIP)
        self.export.clicked.connect(self.export_asked)
        self.open_folder = named_button("open_exported", "Open folder", "Open the folder of the last export.")
        self.open_folder.clicked.connect(self._open_folder)
        self.open_folder.setVisible(False)
        self.more_count = QSpinBox()
        self.more_count.setObjectName("diffseg_more_count")
        self.more_count.setToolTip("How many members to add.")
        self.more_count.setRange(1, _MOST_MORE)
        self.more_count.setValue(_MORE)
        self.more_count.setPrefix("+ ")
        guard_from_wheel(self.more_count)
        self.more = named_button("more", "More members", _MORE_TIP)
        self.more.clicked.connect(lambda: self.more_asked.emit(self.more_count.value()))
        self.finish = named_button("finish", "Finish", "Sample the members that the stopped run still lacks.")
        self.finish.clicked.connect(lambda: self.more_asked.emit(0))
        self._lay_out()

    def _lay_out(self) -> None:
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setColumnStretch(0, 1)
        grid.setColumnStretch(1, 1)
        grid.addWidget(self.export, 0, 0)
        grid.addWidget(self.open_folder, 0, 1)
        grid.addWidget(self.more_count, 1, 0)
        grid.addWidget(self.more, 1, 1)
        grid.addWidget(self.finish, 2, 0, 1, 2)

    def ask_to_replace(self, sentence: str) -> bool:
        """Whether the user allows files in the folder to be replaced."""
        box = QMessageBox(QMessageBox.Icon.Question, "Replace?", sentence, parent=self)
        box.setTextFormat(Qt.TextFormat.PlainText)
        box.setStandardButtons(QMessageBox.StandardButton.Yes | QMessageBox.StandardButton.No)
        return bool(box.exec() == QMessageBox.StandardButton.Yes)

    def show_export(self, reason: str | None) -> None:
        """Enable Export, or say why it is disabled."""
        self.export.setEnabled(reason is None)
        self.export.setToolTip(reason or _EXPORT_TIP)

    def show_exported(self, folder: Path | None) -> None:
        """Offer to open the folder of an export; None offers nothing."""
        self._exported = folder
        self.open_folder.setVisible(folder is not None)
        self.open_folder.setToolTip("" if folder is None else f"Open {folder}.")

    def _open_folder(self) -> None:
        if self._exported is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(self._exported)))

    def show_more(self, *, reason: str | None, unfinished: bool) -> None:
        """Offer more members, and to finish a run that was stopped.

        Parameters
        ----------
        reason : str or None
            Why nothing can be added to it now.
        unfinished : bool
            Whether it was stopped.
        """
        self.more.setEnabled(reason is None)
        self.more.setToolTip(reason or _MORE_TIP)
        self.finish.setEnabled(reason is None)
        self.finish.setVisible(unfinished)


class ResultsBox(QGroupBox):
    """Hidden until there is a run; where only other cases have runs, it shows their list alone.

    Parameters
    ----------
    explore : ExploreBox
        What was found: volume, lesions, members, comparisons.
    result : ResultBox
        How the members are summed up.
    runs : RunsBox
        The list of runs.
    """

    def __init__(self, explore: ExploreBox, result: ResultBox, runs: RunsBox) -> None:
        super().__init__("Results")
        self.setObjectName("diffseg_results")
        self.setToolTip("What came of the run on the screen.")
        self.buttons = ResultActions()
        self._of_run = (explore.line, self.buttons, result, explore)
        self._runs = runs
        layout = QVBoxLayout(self)
        for part in (*self._of_run, runs):
            layout.addWidget(part)
        self.show_run(None)

    def show_run(self, title: str | None) -> None:
        """Say which run's results these are, such as `run 2 of case_1`; None is none."""
        self.setTitle("Results" if title is None else f"Results of {title}")
        for part in self._of_run:
            part.setVisible(title is not None)
        self.follow_runs()

    def follow_runs(self) -> None:
        """Another run is listed, or none any more."""
        has_result = not self._of_run[0].isHidden()
        self.setVisible(has_result or not self._runs.isHidden())
