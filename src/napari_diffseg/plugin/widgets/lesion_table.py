"""The lesions of the ensemble as a table; a click goes there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QLabel, QTableWidget, QTableWidgetItem, QVBoxLayout, QWidget

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_diffseg.ensemble.lesions import Lesion

MOST_ROWS: Final = 200
_HEIGHT: Final = 170
_COLUMNS: Final = (
    ("Seen", "Members that mark a voxel of the lesion: how likely it exists."),
    ("ml", "Mean volume among the members that see it."),
    ("95 %", "Where the middle 95 % of their volumes lie, in ml."),
    ("Differ", "Mean volume, in ml, on which two members differ here."),
)
_WIDEST: Final = 2
"""The column that gets what the others leave."""


class LesionTable(QWidget):
    """Rows of lesions, those first on which the members differ most; a click on a column's head sorts by it."""

    picked = Signal(object)
    """The Lesion to go to."""

    def __init__(self) -> None:
        super().__init__()
        self._lesions: tuple[Lesion, ...] = ()
        self.table = QTableWidget(0, len(_COLUMNS))
        self.table.setObjectName("diffseg_lesions")
        self.table.setToolTip("Click a lesion to go there; Shift+N on the canvas goes to the next.")
        self.table.setFixedHeight(_HEIGHT)
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.table.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        for column, (text, tip) in enumerate(_COLUMNS):
            head = QTableWidgetItem(text)
            head.setToolTip(tip)
            self.table.setHorizontalHeaderItem(column, head)
        header, rows = self.table.horizontalHeader(), self.table.verticalHeader()
        assert header is not None  # every table has them
        assert rows is not None
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(_WIDEST, QHeaderView.ResizeMode.Stretch)
        header.setHighlightSections(False)
        rows.hide()
        self.table.cellClicked.connect(self._click)
        self.note = QLabel()
        self.note.setWordWrap(True)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.table)
        layout.addWidget(self.note)
        self.show_lesions(())

    def show_lesions(self, lesions: Sequence[Lesion], *, of_one_mask: bool = False) -> None:
        """Show lesions in their order, the first `MOST_ROWS` of them.

        Those of one mask, such as an edited one, have no interval and nothing on which members differ.
        """
        self._lesions = tuple(lesions[:MOST_ROWS])
        self.table.setSortingEnabled(False)
        self.table.setRowCount(len(self._lesions))
        for row, lesion in enumerate(self._lesions):
            for column, (text, key) in enumerate(_cells(lesion)):
                shown = "" if of_one_mask and column >= _WIDEST else text
                self.table.setItem(row, column, _Cell(shown, key, row))
        self.table.clearSelection()
        self.table.setSortingEnabled(True)
        self.table.sortByColumn(len(_COLUMNS) - 1, Qt.SortOrder.DescendingOrder)
        header = self.table.horizontalHeader()
        assert header is not None  # every table has one
        header.setSortIndicatorShown(False)  # its room, kept in every column, is what a narrow panel lacks
        left_out = len(lesions) - len(self._lesions)
        self.note.setText(f"{left_out} more, on which members differ less, are left out." if left_out else "")
        self.note.setVisible(bool(left_out))

    def next(self) -> None:
        """Go to the row below the selected one, from the last to the first."""
        rows = self.table.rowCount()
        if not rows:
            return
        selected = self.table.selectedItems()
        row = (selected[0].row() + 1) % rows if selected else 0
        self.table.selectRow(row)
        self._click(row, 0)

    def _click(self, row: int, _column: int) -> None:
        cell = self.table.item(row, 0)
        assert isinstance(cell, _Cell)  # every cell is
        self.picked.emit(self._lesions[cell.lesion])


class _Cell(QTableWidgetItem):
    """A cell that sorts by a number and knows whose it is."""

    def __init__(self, text: str, key: float, lesion: int) -> None:
        super().__init__(text)
        self.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self.setToolTip(text)
        self._key = key
        self.lesion = lesion

    def __lt__(self, other: object) -> bool:
        """Order by the number."""
        return isinstance(other, _Cell) and self._key < other._key


def _cells(lesion: Lesion) -> tuple[tuple[str, float], ...]:
    """Text and sorting number of each column."""
    low, high = lesion.interval_ml
    return (
        (f"{lesion.holders}/{lesion.asked}", lesion.probability),
        (in_ml(lesion.volume_ml), lesion.volume_ml),
        (f"{in_ml(low)}–{in_ml(high)}", high - low),
        (in_ml(lesion.differ_ml), lesion.differ_ml),
    )


def in_ml(volume: float) -> str:
    """A volume in ml to three digits at most, two after the point at most."""
    if 0 < volume < 0.005:
        return "<0.01"
    return f"{volume:.0f}" if volume >= 100 else f"{volume:.1f}" if volume >= 10 else f"{volume:.2f}"
