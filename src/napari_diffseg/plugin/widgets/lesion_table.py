"""The lesions of the ensemble as a table; a click goes there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import (
    QAbstractItemView,
    QDoubleSpinBox,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_diffseg.ensemble.lesions import describe_smallest, listed
from napari_diffseg.ensemble.volumes import interval_title
from napari_diffseg.plugin.widgets.controls import guard_from_wheel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_diffseg.ensemble.lesions import Lesion

MOST_ROWS: Final = 200
_HEIGHT: Final = 170
_COLUMNS: Final = (
    ("Seen", "Members that mark a voxel of the lesion: how likely it exists."),
    ("ml", "Mean volume among the members that see it."),
    (
        "Interval",
        "Where the volumes of the members that see it lie, in ml: their range, or, of 39 and more, the middle 95 %.",
    ),
    ("Differ", "Mean volume, in ml, on which two members differ here."),
)
_WIDEST: Final = 2
"""The column that gets what the others leave."""


class LesionTable(QWidget):
    """Rows of lesions, those first on which the members differ most; a click on a column's head sorts by it."""

    picked = Signal(object)
    """The Lesion to go to."""
    smallest_changed = Signal()
    """Components of another size count as lesions."""

    def __init__(self) -> None:
        super().__init__()
        self._components: tuple[Lesion, ...] = ()
        self._lesions: tuple[Lesion, ...] = ()
        self._of_one_mask, self._is_chosen, self._smallest_ml = False, False, 0.0
        self.smallest = _smallest_box()
        self.smallest.valueChanged.connect(self._choose_smallest)
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
        row = QHBoxLayout()
        row.addWidget(QLabel("Smallest lesion"))
        row.addWidget(self.smallest)
        row.addStretch(1)
        layout.addWidget(self.table)
        layout.addWidget(self.note)
        layout.addLayout(row)
        self.show_lesions((), 0.0)

    @property
    def smallest_ml(self) -> float | None:
        """The smallest lesion that the user asked for; None where it goes by the voxel size."""
        return self.smallest.value() if self._is_chosen else None

    def show_lesions(self, components: Sequence[Lesion], smallest_ml: float, *, of_one_mask: bool = False) -> None:
        """Show the components that are not too small, in their order, the first `MOST_ROWS` of them.

        Those of one mask, such as an edited one, have no interval and nothing on which members differ. The smallest
        size is that given, unless the user has chosen another.
        """
        self._components, self._of_one_mask = tuple(components), of_one_mask
        if not self._is_chosen:
            with QSignalBlocker(self.smallest):
                self.smallest.setValue(smallest_ml)
            self._smallest_ml = smallest_ml  # not as rounded to what the box shows
        self._fill()

    def _choose_smallest(self, value: float) -> None:
        self._is_chosen, self._smallest_ml = True, value
        self._fill()
        self.smallest_changed.emit()

    def _fill(self) -> None:
        lesions = listed(self._components, self._smallest_ml)
        self._lesions = lesions[:MOST_ROWS]
        self.table.setSortingEnabled(False)
        self.table.setRowCount(len(self._lesions))
        for row, lesion in enumerate(self._lesions):
            for column, (text, key) in enumerate(_cells(lesion)):
                shown = "" if self._of_one_mask and column >= _WIDEST else text
                cell = _Cell(shown, key, row)
                if shown and column == _WIDEST:
                    cell.setToolTip(f"{shown} ml: {interval_title(lesion.holders)}")
                self.table.setItem(row, column, cell)
        self.table.clearSelection()
        self.table.setSortingEnabled(True)
        self.table.sortByColumn(len(_COLUMNS) - 1, Qt.SortOrder.DescendingOrder)
        header = self.table.horizontalHeader()
        assert header is not None  # every table has one
        header.setSortIndicatorShown(False)  # its room, kept in every column, is what a narrow panel lacks
        left_out = len(lesions) - len(self._lesions)
        more = f"{left_out} more, on which members differ less, are left out." if left_out else ""
        small = describe_smallest(self._components, self._smallest_ml) if self._components else ""
        self.note.setText(" ".join(filter(None, (more, small))))
        self.note.setVisible(bool(self.note.text()))

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


def _smallest_box() -> QDoubleSpinBox:
    box = QDoubleSpinBox()
    box.setObjectName("diffseg_smallest_lesion")
    box.setDecimals(3)
    box.setRange(0, 1000)
    box.setSingleStep(0.01)
    box.setSuffix(" ml")
    box.setKeyboardTracking(False)
    box.setToolTip(
        "Connected components smaller than this are not listed as lesions; volumes count them. "
        "At first: a sphere 3 mm across, or 3 voxels across if that is more."
    )
    guard_from_wheel(box)
    return box


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
        (f"{in_ml(low)}–{in_ml(high)}" if lesion.holders > 1 else "", high - low),
        (in_ml(lesion.differ_ml), lesion.differ_ml),
    )


def in_ml(volume: float) -> str:
    """A volume in ml to three digits at most, two after the point at most."""
    if 0 < volume < 0.005:
        return "<0.01"
    return f"{volume:.0f}" if volume >= 100 else f"{volume:.1f}" if volume >= 10 else f"{volume:.2f}"
