"""The row that asks on which side of the screen the patient's left is to be."""

from __future__ import annotations

from typing import Final

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QLabel, QWidget

from napari_diffseg.plugin.controls import guard_from_wheel
from napari_diffseg.plugin.sides import Convention

_WORDS: Final = {
    Convention.RADIOLOGICAL: "on the right (radiological)",
    Convention.NEUROLOGICAL: "on the left (neurological)",
}


class SideRow(QWidget):
    """A choice of two; the letters L and R on the canvas say what is so."""

    chosen = Signal(object)
    """A Convention."""

    def __init__(self) -> None:
        super().__init__()
        self.choice = QComboBox()
        self.choice.setObjectName("diffseg_convention")
        self.choice.setToolTip(
            "Where the patient's left is in axial and coronal slices: on the right of the screen, as radiologists "
            "look, or on its left. Only the view is turned; voxels and files stay as they are."
        )
        self.choice.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.choice.addItems(list(_WORDS.values()))
        self.choice.activated.connect(lambda place: self.chosen.emit(list(_WORDS)[place]))
        guard_from_wheel(self.choice)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(QLabel("Left is"))
        row.addWidget(self.choice, 1)

    def show_convention(self, convention: Convention) -> None:
        """Show which is so, without choosing it."""
        self.choice.setCurrentText(_WORDS[convention])
