"""The window of a batch: which cases, where to, how far it is, and the table of what has come of each."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from qtpy.QtCore import QAbstractTableModel, QModelIndex, Qt, Signal
from qtpy.QtWidgets import (
    QAbstractItemView,
    QCheckBox,
    QDialog,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QHeaderView,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QTableView,
    QVBoxLayout,
    QWidget,
)

from napari_diffseg.imaging.names.naming import shown_name
from napari_diffseg.plugin.session.progress import describe_seconds
from napari_diffseg.plugin.widgets.controls import breakable
from napari_diffseg.plugin.widgets.named import named_button, named_label

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_diffseg.plugin.session.batch import Batch, BatchRow

_HEADS: Final = ("Case", "State", "Mask (ml)", "Lesions", "Dice", "Seconds", "Message")
_TIPS: Final = (
    "Tick the cases that are to be segmented. A click on a line opens its case with its run.",
    "How far the case is.",
    "Volume of the mask, all labels together.",
    "Connected components of any member, as under Results: those of at least a sphere 3 mm or 3 voxels across.",
    "Overlap with the reference, where there is one; 1 is the best.",
    "What sampling took.",
    "Why a case failed, or what is to be known of it.",
)
_NUMBERS: Final = range(2, 6)
_STEPS: Final = 1000


class BatchTable(QAbstractTableModel):
    """One line a case, ticked or not; a view asks for those in sight alone."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[BatchRow] = []
        self._ticked: dict[str, bool] = {}
        self.is_frozen = False
        """Whether ticks cannot be changed now."""

    def rowCount(self, parent: QModelIndex = QModelIndex()) -> int:  # noqa: B008 - as Qt has it
        """How many cases there are."""
        return 0 if parent.isValid() else len(self.rows)

    def columnCount(self, parent: QModelIndex = QModelIndex()) -> int:  # noqa: B008 - as Qt has it
        """How many columns there are."""
        return 0 if parent.isValid() else len(_HEADS)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Heads of columns, with what they mean."""
        if orientation != Qt.Orientation.Horizontal:
            return None
        return {Qt.ItemDataRole.DisplayRole: _HEADS[section], Qt.ItemDataRole.ToolTipRole: _TIPS[section]}.get(
            Qt.ItemDataRole(role)
        )

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """A cell."""
        row, column = self.rows[index.row()], index.column()
        match Qt.ItemDataRole(role):
            case Qt.ItemDataRole.DisplayRole:
                return shown_name(row.name) if column == 0 else row.cells[column]
            case Qt.ItemDataRole.ToolTipRole:
                return row.cells[column] or None
            case Qt.ItemDataRole.CheckStateRole if column == 0:
                return Qt.CheckState.Checked if self.is_ticked(row.name) else Qt.CheckState.Unchecked
            case Qt.ItemDataRole.TextAlignmentRole if column in _NUMBERS:
                return Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        return None

    def setData(self, index: QModelIndex, value: Any, role: int = Qt.ItemDataRole.EditRole) -> bool:
        """Tick a case, or not."""
        if role != Qt.ItemDataRole.CheckStateRole or self.is_frozen:
            return False
        self._ticked[self.rows[index.row()].name] = Qt.CheckState(value) == Qt.CheckState.Checked
        self.dataChanged.emit(index, index)
        return True

    def flags(self, index: QModelIndex) -> Qt.ItemFlag:
        """Cells of the first column have a tick."""
        flags = Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable
        return flags | Qt.ItemFlag.ItemIsUserCheckable if index.column() == 0 and not self.is_frozen else flags

    def is_ticked(self, name: str) -> bool:
        """Whether a case is to be segmented; all are at first."""
        return self._ticked.get(name, True)

    def tick(self, names: Sequence[str]) -> None:
        """Tick these cases and no others."""
        wanted = set(names)
        self._ticked = {row.name: row.name in wanted for row in self.rows}
        self._tell()

    @property
    def ticked(self) -> list[str]:
        """Names of the cases that are ticked, in their order."""
        return [row.name for row in self.rows if self.is_ticked(row.name)]

    def show_rows(self, rows: Sequence[BatchRow]) -> None:
        """Show these lines."""
        if [row.name for row in rows] != [row.name for row in self.rows]:
            self.beginResetModel()
            self.rows = list(rows)
            self.endResetModel()
        elif list(rows) != self.rows:
            self.rows = list(rows)
            self._tell()

    def _tell(self) -> None:
        if self.rows:
            self.dataChanged.emit(self.index(0, 0), self.index(len(self.rows) - 1, len(_HEADS) - 1))


@dataclass(frozen=True, slots=True)
class BatchWish:
    """What the user wants: the cases by name, where results go, and whether they are made anew where they are there."""

    names: tuple[str, ...]
    out: Path
    replaces: bool = field(default=False)


class BatchWindow(QDialog):
    """Stands beside the viewer and does not keep it; it can be closed and opened again while a batch goes on."""

    start_asked = Signal(object)
    """A BatchWish."""
    cancel_asked = Signal()
    """The batch is to stop."""
    case_asked = Signal(str)
    """Name of a case that is wanted in the viewer, with its run."""
    save_asked = Signal()
    """The table is to be saved."""
    pending_asked = Signal()
    """Cases without results are to be ticked, no others."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setObjectName("diffseg_batch_window")
        self.setWindowTitle("Batch")
        self.resize(760, 460)
        self.table = BatchTable()
        self.view = self._make_view()
        self.settings = named_label("batch_settings", "What every case is sampled with: the settings in the panel.")
        self.status = named_label("batch_status", "How far the batch is.")
        self.out = QLineEdit()
        self.out.setObjectName("diffseg_batch_out")
        self.out.setToolTip("Each case gets a folder of its own in it, as 'napari-diffseg predict' makes them.")
        self.replace = QCheckBox("Sample again what is there")
        self.replace.setObjectName("diffseg_batch_replace")
        self.replace.setToolTip(
            "Results that are in the folder are replaced. Otherwise cases that are done with the same settings are "
            "skipped, and what was cut short is finished."
        )
        self.bar = QProgressBar()
        self.bar.setObjectName("diffseg_batch_progress")
        self.bar.setToolTip("How much of the whole batch is done.")
        self.bar.setRange(0, _STEPS)
        self._lay_out()

    def _make_view(self) -> QTableView:
        view = QTableView()
        view.setObjectName("diffseg_batch_table")
        view.setToolTip("A tick takes the case into the batch; a click on another column opens it, with its result.")
        view.setModel(self.table)
        view.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        view.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        view.setWordWrap(False)
        heads, lines = view.horizontalHeader(), view.verticalHeader()
        assert heads is not None  # every table has both
        assert lines is not None
        lines.hide()
        heads.setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
        heads.setStretchLastSection(True)
        for column, width in enumerate((190, 95, 85, 65, 60, 65)):
            view.setColumnWidth(column, width)
        view.clicked.connect(self._open)
        return view

    def _lay_out(self) -> None:
        browse = _button("batch_browse", "Browse…", "Choose where results go.", self._browse)
        place = QHBoxLayout()
        place.addWidget(self.out, 1)
        place.addWidget(browse)
        form = QFormLayout()
        form.addRow("Settings", self.settings)
        form.addRow("Results in", place)
        ticks = QHBoxLayout()
        names = self.table
        for button in (
            _button("batch_all", "All", "Tick all cases.", lambda: names.tick([row.name for row in names.rows])),
            _button("batch_none", "None", "Tick no case.", lambda: names.tick([])),
            _button("batch_pending", "Without a run", "Tick the cases that have no run yet.", self.pending_asked.emit),
        ):
            ticks.addWidget(button)
        ticks.addStretch(1)
        ticks.addWidget(self.replace)
        self.start = _button("batch_start", "Start", "Segment the ticked cases, one after the other.", self._start)
        self.cancel = _button(
            "batch_cancel", "Cancel", "Stop after this step; what is finished is kept.", self.cancel_asked.emit
        )
        self.save = _button("batch_save", "Save table…", "Write the table as CSV.", self.save_asked.emit)
        actions = QHBoxLayout()
        actions.addWidget(self.bar, 1)
        for button in (self.start, self.cancel, self.save):
            button.setAutoDefault(False)
            actions.addWidget(button)
        column = QVBoxLayout(self)
        column.addLayout(form)
        column.addLayout(ticks)
        column.addWidget(self.view, 1)
        column.addWidget(self.status)
        column.addLayout(actions)

    def show_settings(self, words: str) -> None:
        """Say what every case is sampled with."""
        self.settings.setText(breakable(words))

    def show_batch(self, batch: Batch, *, reason: str | None) -> None:
        """Show how far it is; `reason` is why none can be started now."""
        going_on = batch.is_going_on
        self.table.is_frozen = going_on
        self.start.setEnabled(reason is None and not going_on)
        self.start.setToolTip(reason or "Segment the ticked cases, one after the other.")
        self.cancel.setEnabled(going_on and not batch.is_stopping)
        self.save.setEnabled(bool(batch.rows))
        for widget in (self.out, self.replace):
            widget.setEnabled(not going_on)
        self.bar.setValue(round(_STEPS * batch.share))
        if going_on:
            self.status.setText(_how_far(batch))
        elif reason is not None:
            self.status.setText(breakable(reason))

    def say(self, sentence: str) -> None:
        """Say what has come of it."""
        self.status.setText(breakable(sentence))

    def _browse(self) -> None:
        if folder := QFileDialog.getExistingDirectory(self, "Where results go", self.out.text()):
            self.out.setText(folder)

    def _start(self) -> None:
        self.start_asked.emit(
            BatchWish(tuple(self.table.ticked), Path(self.out.text().strip()), self.replace.isChecked())
        )

    def _open(self, index: QModelIndex) -> None:
        if index.column():
            self.case_asked.emit(self.table.rows[index.row()].name)


def _how_far(batch: Batch) -> str:
    """Such as `3 of 12 cases are over. About 5 min left.`."""
    over = sum(row.state.is_over for row in batch.rows)
    if batch.is_stopping:
        return "Stopping after this step…"
    left = batch.seconds_left
    time = "" if left is None else f" About {describe_seconds(left)} left."
    return f"{over} of {len(batch.rows)} cases are over.{time}"


def _button(name: str, text: str, tip: str, slot: Any) -> QPushButton:
    button = named_button(name, text, tip)
    button.setAutoDefault(False)
    button.clicked.connect(lambda _=False: slot())
    return button
