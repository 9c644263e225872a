"""The part of the panel that lists the runs of the session."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QAbstractItemView,
    QGridLayout,
    QListWidget,
    QListWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_diffseg.plugin.widgets.fold import Fold
from napari_diffseg.plugin.widgets.named import named_button

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_diffseg.plugin.session.run_entry import RunEntry

_COLUMNS = 3
_LINES = 7
"""Of text in sight; with more the list scrolls."""


class RunsBox(Fold):
    """One line a run, folded away; below it what can be done with the chosen one. Hidden until there is a run."""

    show_asked = Signal(object)
    """The RunEntry to bring on the screen."""
    rerun_asked = Signal(object)
    """The RunEntry to do once more."""
    copy_asked = Signal(object)
    """The RunEntry whose command line is wanted."""
    settings_asked = Signal(object)
    """The RunEntry whose settings are wanted for the next run."""
    remove_asked = Signal(object)
    """The RunEntry to take away."""
    compare_asked = Signal(object, object)
    """Two RunRecords, in the order of the list."""

    def __init__(self) -> None:
        super().__init__("runs_fold", "Runs", tip="The runs of this session.")
        self.list = QListWidget()
        self.list.setObjectName("diffseg_runs")
        self.list.setToolTip(
            "The number is the one in the layers' names; bold is on the screen. A double click shows a run, Ctrl+click "
            "chooses a second one."
        )
        self.list.itemDoubleClicked.connect(lambda _: self._tell(self.show_asked))
        self.list.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.list.itemSelectionChanged.connect(self._enable)
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

    def _make_buttons(self) -> QGridLayout:
        grid = QGridLayout()
        self._buttons = []
        for n, (name, text, tip, signal) in enumerate(
            (
                ("show_run", "Show", "Bring its layers and images back on the screen.", self.show_asked),
                ("rerun", "Rerun", "Do it once more, with its own images and settings.", self.rerun_asked),
                ("use_settings", "Use settings", "Take its settings for the next run.", self.settings_asked),
                ("copy_command", "Copy", "Copy the command line that makes its masks again.", self.copy_asked),
                ("remove_run", "Remove", "Take it and its layers away; its files stay on disk.", self.remove_asked),
            )
        ):
            button = named_button(name, text, tip)
            button.clicked.connect(lambda _=False, signal=signal: self._tell(signal))
            grid.addWidget(button, n // _COLUMNS, n % _COLUMNS)
            self._buttons.append(button)
        self._compare = named_button(
            "compare_runs", "Compare two", "Agreement (Dice) of the masks of the two chosen runs."
        )
        self._compare.clicked.connect(lambda: self.compare_asked.emit(*self.selected))
        grid.addWidget(self._compare, len(self._buttons) // _COLUMNS, len(self._buttons) % _COLUMNS, 1, 2)
        return grid

    @property
    def selected(self) -> list[RunEntry]:
        """The runs whose lines are selected, in the order of the list."""
        rows = sorted(self.list.row(item) for item in self.list.selectedItems())
        return [item.data(Qt.ItemDataRole.UserRole) for row in rows if (item := self.list.item(row)) is not None]

    @property
    def chosen(self) -> RunEntry | None:
        """The run whose line is chosen."""
        item = self.list.currentItem()
        record: RunEntry | None = None if item is None else item.data(Qt.ItemDataRole.UserRole)
        return record

    def show_runs(self, records: Sequence[RunEntry], on_screen: RunEntry | None = None) -> None:
        """List runs, the one on the screen in bold; the choice stays, and falls to the last where its run is gone."""
        before = self.chosen
        self.list.clear()
        for record in records:
            item = QListWidgetItem(record.line)
            item.setData(Qt.ItemDataRole.UserRole, record)
            font = item.font()
            font.setBold(record is on_screen)
            item.setFont(font)
            self.list.addItem(item)
        row = next((n for n, record in enumerate(records) if record is before), len(records) - 1)
        self.list.setCurrentRow(row)
        self._enable()
        self.setVisible(bool(records))

    def _enable(self, _row: int = -1) -> None:
        for button in self._buttons:
            button.setEnabled(self.chosen is not None)
        self._compare.setEnabled(len(self.list.selectedItems()) == 2)

    def _tell(self, signal: Signal) -> None:
        if self.chosen is not None:
            signal.emit(self.chosen)
