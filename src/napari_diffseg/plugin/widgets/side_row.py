"""The choice on which side of the screen the patient's left is to be."""

from __future__ import annotations

from typing import Final

from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QComboBox, QLabel

from napari_diffseg.appearance import Convention
from napari_diffseg.plugin.widgets.controls import guard_from_wheel

_WORDS: Final = {
    Convention.RADIOLOGICAL: "right (radiological)",
    Convention.NEUROLOGICAL: "left (neurological)",
}


class SideRow(QObject):
    """A label and a choice of two, for a row of somebody's grid; the letters L and R on the canvas say what is so."""

    chosen = Signal(object)
    """A Convention."""

    def __init__(self) -> None:
        super().__init__()
        self.label = QLabel("Patient's left")
        self.choice = QComboBox()
        self.choice.setObjectName("diffseg_convention")
        self.choice.setToolTip(
            "Where the patient's left is in axial and coronal slices: on the right of the screen, as radiologists "
            "look, or on its left. Only the view is turned; voxels and files stay as they are."
        )
        self.label.setToolTip(self.choice.toolTip())
        self.choice.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.choice.addItems(list(_WORDS.values()))
        self.choice.activated.connect(lambda place: self.chosen.emit(list(_WORDS)[place]))
        guard_from_wheel(self.choice)

    def show_convention(self, convention: Convention) -> None:
        """Show which is so, without choosing it."""
        self.choice.setCurrentText(_WORDS[convention])
