"""The part of the panel that scrubs through the denoising steps of a slice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QCheckBox, QComboBox, QGridLayout, QLabel, QPushButton, QSlider, QWidget

from napari_diffseg.plugin.canvas.result_style import decided_style
from napari_diffseg.plugin.widgets.controls import guard_from_wheel
from napari_diffseg.plugin.widgets.legend import Legend

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_diffseg.segmenting.trajectory import Trajectory

ALL: Final = "Mean of all"
_NOTHING: Final = "Samples the slice on screen once more, with the run's own noise, and keeps every step."


class DenoisingBox(QWidget):
    """Whose way is shown, a button that records it, and a slider over its steps."""

    record_asked = Signal()
    """The slice on the screen is wanted, of the `member` that is chosen."""
    changed = Signal()
    """Another member, another step, or the other map is wanted."""

    def __init__(self) -> None:
        super().__init__()
        self.who = QComboBox()
        self.who.setObjectName("diffseg_denoising_member")
        self.who.setToolTip("Whose prediction is shown: one member's, or the mean of all that are shown.")
        self.who.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.who.addItem(ALL, None)
        self.record = QPushButton("Record slice")
        self.record.setObjectName("diffseg_record")
        self.record.setToolTip(_NOTHING)
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setObjectName("diffseg_denoising_step")
        self.slider.setToolTip("The step whose predicted mask is on the canvas: left is noise, right the final mask.")
        self.decided = QCheckBox("When each pixel was decided")
        self.decided.setObjectName("diffseg_decided")
        self.decided.setToolTip("The first step from which on a pixel stays in the mask, or out of it.")
        self.legend = Legend("decided_legend", decided_style(2))
        self.legend.set_texts("1", "decided at step", "last")
        self.line = QLabel(_NOTHING)
        self.line.setObjectName("diffseg_denoising")
        self.line.setToolTip("The step whose mask is on the canvas, and the timestep that the network was told.")
        self.line.setTextFormat(Qt.TextFormat.PlainText)
        self.line.setWordWrap(True)
        self._kept: tuple[int, ...] = ()
        self._lay_out()
        for control in (self.who, self.slider):
            guard_from_wheel(control)
        self.record.clicked.connect(self.record_asked)
        self.who.currentIndexChanged.connect(lambda _: self.changed.emit())
        self.slider.valueChanged.connect(lambda _: self.changed.emit())
        self.decided.toggled.connect(self._tell_decided)
        self.show_trajectory(None)

    def _lay_out(self) -> None:
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setColumnStretch(0, 1)
        grid.addWidget(self.who, 0, 0)
        grid.addWidget(self.record, 0, 1)
        for row, widget in enumerate((self.slider, self.line, self.decided, self.legend), start=1):
            grid.addWidget(widget, row, 0, 1, 2)

    @property
    def member(self) -> int | None:
        """The member that is chosen; None is all."""
        chosen: int | None = self.who.currentData()
        return chosen

    @property
    def place(self) -> int:
        """Which of the steps that are kept, from 0."""
        return int(self.slider.value())

    def set_members(self, members: Sequence[int]) -> None:
        """Offer members, and keep the choice where it is among them."""
        if [self.who.itemData(n) for n in range(1, self.who.count())] == list(members):
            return
        chosen = self.member
        self.who.blockSignals(True)
        self.who.clear()
        self.who.addItem(ALL, None)
        for k in members:
            self.who.addItem(f"Member {k + 1}", k)
        self.who.setCurrentIndex(max(self.who.findData(chosen), 0))
        self.who.blockSignals(False)

    def show_trajectory(self, trajectory: Trajectory | None) -> None:
        """Offer the steps of what was recorded, the last one chosen; None is nothing."""
        self.slider.blockSignals(True)
        self.slider.setRange(0, 0 if trajectory is None else len(trajectory.kept) - 1)
        self.slider.setValue(self.slider.maximum())
        self.slider.blockSignals(False)
        for widget in (self.slider, self.decided):
            widget.setEnabled(trajectory is not None)
        self._explain_colors()
        if trajectory is not None:
            self.legend.set_texts("1", "decided at step", str(trajectory.steps))

    def _tell_decided(self) -> None:
        self._explain_colors()
        self.changed.emit()

    def _explain_colors(self) -> None:
        """Of the map, while it is what is shown."""
        self.legend.setVisible(self.decided.isEnabled() and self.decided.isChecked())

    def say(self, words: str) -> None:
        """Say what is on the canvas, or why nothing is; empty says what can be had."""
        self.line.setText(words or _NOTHING)
