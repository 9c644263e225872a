"""The part of the panel that lists the runs of the session."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QHBoxLayout, QListWidget, QListWidgetItem, QPushButton, QVBoxLayout, QWidget

from napari_diffseg.plugin.fold import Fold

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_diffseg.plugin.run_record import RunRecord

_LINES = 4
"""Runs in sight; with more the list scrolls."""


class RunsBox(Fold):
    """One line a run, folded away; below it what can be done with the chosen one. Hidden until there is a run."""

    rerun_asked = Signal(object)
    """The RunRecord to do once more."""
    copy_asked = Signal(object)
    """The RunRecord whose command line is wanted."""
    remove_asked = Signal(object)
    """The RunRecord to take away."""

    def __init__(self) -> None:
        super().__init__("runs_fold", "Runs", tip="The runs of this session.")
        self.list = QListWidget()
        self.list.setObjectName("diffseg_runs")
        self.list.setToolTip("The number is the one in the names of the layers.")
        self.list.setWordWrap(True)
        self.list.setFixedHeight(_LINES * self.list.fontMetrics().height() + 2 * _LINES + 2)
        self.list.currentRowChanged.connect(self._enable)
        content = QWidget()
        column = QVBoxLayout(content)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.list)
        column.addLayout(self._make_buttons())
        self.replace_content(content)
        self.show_runs(())

    def _make_buttons(self) -> QHBoxLayout:
        row = QHBoxLayout()
        self._buttons = []
        for name, text, tip, signal in (
            ("rerun", "Rerun", "Do it once more, with its own images and settings.", self.rerun_asked),
            ("copy_command", "Copy", "Copy the command line that makes its masks again.", self.copy_asked),
            ("remove_run", "Remove", "Take it and its layers away; its files stay on disk.", self.remove_asked),
        ):
            button = QPushButton(text)
            button.setObjectName(f"diffseg_{name}")
            button.setToolTip(tip)
            button.clicked.connect(lambda _=False, signal=signal: self._tell(signal))
            row.addWidget(button)
            self._buttons.append(button)
        return row

    @property
    def chosen(self) -> RunRecord | None:
        """The run whose line is chosen."""
        item = self.list.currentItem()
        record: RunRecord | None = None if item is None else item.data(Qt.ItemDataRole.UserRole)
        return record

    def show_runs(self, records: Sequence[RunRecord]) -> None:
        """List runs; the choice stays, and falls to the last where its run is gone."""
        before = self.chosen
        self.list.clear()
        for record in records:
            item = QListWidgetItem(record.line)
            item.setData(Qt.ItemDataRole.UserRole, record)
            self.list.addItem(item)
        row = next((n for n, record in enumerate(records) if record is before), len(records) - 1)
        self.list.setCurrentRow(row)
        self._enable()
        self.setVisible(bool(records))

    def _enable(self, _row: int = -1) -> None:
        for button in self._buttons:
            button.setEnabled(self.chosen is not None)

    def _tell(self, signal: Signal) -> None:
        if self.chosen is not None:
            signal.emit(self.chosen)
