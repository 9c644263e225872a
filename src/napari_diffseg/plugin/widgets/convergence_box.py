"""The part of the panel that shows how the majority settles as members come, and can end a run when it has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QDoubleSpinBox, QHBoxLayout, QLabel, QVBoxLayout, QWidget

from napari_diffseg.plugin.widgets.controls import BOX_WIDTH, guard_from_wheel
from napari_diffseg.plugin.widgets.plots.line_plot import LinePlot

if TYPE_CHECKING:
    from napari_diffseg.ensemble.convergence import Convergence


class ConvergenceBox(QWidget):
    """Dice between the majorities before and after each member, the majority's volume, and `stop when stable`."""

    settled = Signal(int)
    """The user asked to stop when stable, and it is, since so many members."""

    def __init__(self) -> None:
        super().__init__()
        self._convergence: Convergence | None = None
        self.dice = LinePlot(
            "convergence_dice",
            "Dice to the one before",
            "Of two majorities in a row; 1 when a further member leaves it as it was.",
        )
        self.volume = LinePlot(
            "convergence_volume", "Majority, ml", "Volume of the majority of the first 1, 2, 3 ... members."
        )
        self.stop = QCheckBox("Stop when stable")
        self.stop.setObjectName("diffseg_stop_when_stable")
        self.stop.setToolTip(
            "End the run when three members in a row do not change the majority (within the tolerance)."
        )
        self.tolerance = QDoubleSpinBox()
        self.tolerance.setObjectName("diffseg_tolerance")
        self.tolerance.setToolTip("Largest 1 - Dice between two majorities in a row that counts as no change.")
        self.tolerance.setFixedWidth(BOX_WIDTH)
        self.tolerance.setDecimals(2)
        self.tolerance.setRange(0.01, 0.2)
        self.tolerance.setSingleStep(0.01)
        self.tolerance.setValue(0.01)
        guard_from_wheel(self.tolerance)
        self.line = QLabel()
        self.line.setObjectName("diffseg_settled")
        self.line.setToolTip("Whether more members still change the majority.")
        self.line.setWordWrap(True)
        self._lay_out()
        self.stop.toggled.connect(self._judge)
        self.tolerance.valueChanged.connect(self._judge)
        self.show_convergence(None)

    def _lay_out(self) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for widget in (self.dice, self.volume, self.line):
            layout.addWidget(widget)
        row = QHBoxLayout()
        row.addWidget(self.stop)
        row.addWidget(self.tolerance)
        layout.addLayout(row)

    def show_convergence(self, convergence: Convergence | None) -> None:
        """Show how the members so far have settled, or that there are none."""
        self._convergence = convergence
        dice = () if convergence is None else convergence.dice
        self.dice.set_values(dice, first=2, ends=(min(dice, default=0.0), 1.0))
        self.volume.set_values(() if convergence is None else convergence.volume_ml, first=1)
        self._judge()

    def _judge(self, *_: object) -> None:
        found = self._convergence
        since = None if found is None else found.settled_since(self.tolerance.value())
        if found is None:
            self.line.setText("")
        elif since is None:
            self.line.setText("Not stable yet: more members still change the majority, or there are too few.")
        else:
            self.line.setText(f"Stable since {since} member{'' if since == 1 else 's'}.")
        if since is not None and self.stop.isChecked():
            self.settled.emit(since)
