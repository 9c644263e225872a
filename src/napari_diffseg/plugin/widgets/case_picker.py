"""The row that goes from one case of a folder to the next, and finds one by its name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from qtpy.QtCore import QAbstractListModel, QModelIndex, Qt, Signal
from qtpy.QtWidgets import QComboBox, QCompleter, QGridLayout, QListView, QWidget

from napari_diffseg.imaging.names.naming import shown_name
from napari_diffseg.plugin.widgets.controls import guard_from_wheel
from napari_diffseg.plugin.widgets.named import named_button, named_label

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qtpy.QtGui import QShowEvent

    from napari_diffseg.plugin.session.case_folder import FolderCase

_ARROW: Final = 28
"""Width of ◀ and ▶, in pixels."""


class _Names(QAbstractListModel):
    """The cases of a folder, one line each; a view asks for those in sight alone."""

    def __init__(self) -> None:
        super().__init__()
        self.cases: list[FolderCase] = []

    def rowCount(self, parent: QModelIndex = QModelIndex()) -> int:  # noqa: B008 - as Qt has it
        """How many there are."""
        return 0 if parent.isValid() else len(self.cases)

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """The line of a case; to be chosen and typed, its name alone."""
        if not index.isValid():
            return None
        case = self.cases[index.row()]
        name = shown_name(case.name)
        if role == Qt.ItemDataRole.DisplayRole:
            return f"{name} ({case.words})" if case.words else name
        return name if role == Qt.ItemDataRole.EditRole else None

    def show(self, cases: Sequence[FolderCase]) -> None:
        """Have these cases; where there are as many as before, they are the same, and more is known of them."""
        if len(cases) != len(self.cases):
            self.beginResetModel()
            self.cases = list(cases)
            self.endResetModel()
            return
        self.cases = list(cases)
        if cases:
            self.dataChanged.emit(self.index(0), self.index(len(cases) - 1))


class _Popup(QListView):
    """What fits to what is typed. Qt makes it a window of its own, which has nothing of the viewer's looks by itself.

    Parameters
    ----------
    of : QWidget
        In the viewer's window, once the list is shown.
    """

    def __init__(self, of: QWidget) -> None:
        super().__init__()
        self._of = of
        self.setUniformItemSizes(True)

    def showEvent(self, event: QShowEvent | None) -> None:
        """Look as the viewer does, in whatever theme it is now."""
        window: QWidget | None = self._of
        while window is not None and not window.styleSheet():
            window = window.parentWidget()
        looks = "" if window is None else window.styleSheet()
        if looks != self.styleSheet():
            self.setStyleSheet(looks)
        super().showEvent(event)


class CasePicker(QWidget):
    """*Previous*, the case, *Next*; below it how many there are. Hidden until a folder of cases is open."""

    asked = Signal(int)
    """Place of the case that is wanted, from 0."""
    batch_asked = Signal()
    """All cases are to be segmented."""
    close_asked = Signal()
    """The folder is wanted no more."""

    def __init__(self) -> None:
        super().__init__()
        self._place = -1
        self._names = _Names()
        self.previous = named_button("previous_case", "◀", "The case before (Page Up, on the canvas).")
        self.next = named_button("next_case", "▶", "The next case (Page Down, on the canvas).")
        for arrow in (self.previous, self.next):
            arrow.setFixedWidth(_ARROW)
        self.batch = named_button("batch", "Batch…", "Segment all cases, or some of them, with the same settings.")
        self.close_folder = named_button(
            "close_cases", "Close list", "Go through this folder no more; what is open stays."
        )
        self.box = self._make_box()
        self.line = named_label("cases_line", "Which case of the folder is open, and what is there for it.")
        self._lay_out()
        self.previous.clicked.connect(lambda: self.step(-1))
        self.next.clicked.connect(lambda: self.step(1))
        self.batch.clicked.connect(self.batch_asked)
        self.close_folder.clicked.connect(self.close_asked)
        self.hide()

    def _make_box(self) -> QComboBox:
        box = QComboBox()
        box.setObjectName("diffseg_cases")
        box.setToolTip("The cases of the folder: choose one, or type a part of its name.")
        box.setEditable(True)
        box.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        box.setMinimumContentsLength(8)
        view = QListView()
        view.setUniformItemSizes(True)
        box.setView(view)
        box.setModel(self._names)
        completer = QCompleter(self._names, box)
        completer.setFilterMode(Qt.MatchFlag.MatchContains)
        completer.setCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
        completer.setCompletionRole(Qt.ItemDataRole.EditRole)
        completer.setPopup(_Popup(box))
        box.setCompleter(completer)
        guard_from_wheel(box)
        box.activated.connect(self._choose)
        line = box.lineEdit()
        assert line is not None  # it is editable
        line.returnPressed.connect(self._choose_typed)
        line.editingFinished.connect(self._show_place)
        return box

    def _lay_out(self) -> None:
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.addWidget(self.previous, 0, 0)
        grid.addWidget(self.box, 0, 1, 1, 2)
        grid.addWidget(self.next, 0, 3)
        grid.addWidget(self.line, 1, 0, 1, 4)
        grid.addWidget(self.batch, 2, 0, 1, 2)
        grid.addWidget(self.close_folder, 2, 2, 1, 2)
        grid.setColumnStretch(1, 1)

    def show_cases(self, cases: Sequence[FolderCase], place: int) -> None:
        """Show the cases of a folder, and which of them is open: its place from 0, -1 for none."""
        self._place = place
        self.box.blockSignals(True)
        self._names.show(cases)
        self.box.blockSignals(False)
        self._show_place()
        self._show_line(cases)
        self.previous.setEnabled(place > 0)
        self.next.setEnabled(place + 1 < len(cases))
        self.setVisible(bool(cases))

    def _show_line(self, cases: Sequence[FolderCase]) -> None:
        done = sum(case.run is not None for case in cases)
        words = [f"Case {self._place + 1} of {len(cases)}" if self._place >= 0 else f"{len(cases)} cases"]
        if cases and all(case.reference is not None for case in cases):
            words.append(f"{sum(bool(case.reference) for case in cases)} with a reference")
        words.append(f"{done} with a run")
        if edited := sum(case.is_edited for case in cases):
            words.append(f"{edited} corrected")
        self.line.setText(", ".join(words) + ".")

    def step(self, by: int) -> None:
        """Ask for the case so many places further, where there is one."""
        place = self._place + by if self._place >= 0 else 0
        if 0 <= place < len(self._names.cases):
            self.asked.emit(place)

    def _choose(self, place: int) -> None:
        if 0 <= place < len(self._names.cases) and place != self._place:
            self.asked.emit(place)
        else:
            self._show_place()

    def _choose_typed(self) -> None:
        """Take what was typed where it is a case's name, or a part of one name alone."""
        typed = self.box.currentText().casefold()
        names = [shown_name(case.name).casefold() for case in self._names.cases]
        same = [n for n, name in enumerate(names) if name == typed]
        found = same or [n for n, name in enumerate(names) if typed and typed in name]
        if len(found) == 1:
            self._choose(found[0])

    def _show_place(self) -> None:
        """What was typed, but not chosen, gives way to the case that is open."""
        self.box.blockSignals(True)
        self.box.setCurrentIndex(self._place)
        self.box.setEditText("" if self._place < 0 else shown_name(self._names.cases[self._place].name))
        self.box.blockSignals(False)
