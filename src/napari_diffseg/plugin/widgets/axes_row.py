"""The question how the axes of arrays run that were opened from no file."""

from __future__ import annotations

from itertools import permutations, product
from typing import Final

from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QComboBox, QLabel

from napari_diffseg.plugin.widgets.controls import guard_from_wheel

_NONE: Final = "(choose)"
_USUAL: Final = ("RAS", "LPS", "LAS", "SPL", "SAR", "IPL")
_TIP: Final = (
    "Where axes 0, 1 and 2 of these arrays run to, as nibabel.aff2axcodes(img.affine) tells, such as RAS: axis 0 to "
    "the patient's Right, axis 1 to Anterior, axis 2 to Superior. The picture below shows what comes of it."
)


class AxesRow(QObject):
    """A label and a choice, for a row of somebody's grid; hidden unless it has to be asked."""

    chosen = Signal(str)
    """Three letters of L R A P S I."""

    def __init__(self) -> None:
        super().__init__()
        self.label = QLabel("Array axes")
        self.choice = QComboBox()
        self.choice.setObjectName("diffseg_array_axes")
        self.choice.addItem(_NONE, "")
        for code in (*_USUAL, *(code for code in _all_codes() if code not in _USUAL)):
            self.choice.addItem(code, code)
        guard_from_wheel(self.choice)
        self.choice.currentIndexChanged.connect(self._tell)
        for widget in (self.label, self.choice):
            widget.setToolTip(_TIP)
            widget.setVisible(False)

    def show_asked(self, asked: bool, code: str = "") -> None:
        """Ask, with what is known already, or do not ask."""
        self.choice.blockSignals(True)
        self.choice.setCurrentIndex(max(self.choice.findData(code), 0))
        self.choice.blockSignals(False)
        for widget in (self.label, self.choice):
            widget.setVisible(asked)

    def _tell(self) -> None:
        if code := self.choice.currentData():
            self.chosen.emit(code)


def _all_codes() -> list[str]:
    """All 48 ways in which three axes can run."""
    pairs = permutations(("LR", "AP", "IS"))
    return sorted("".join(letters) for each in pairs for letters in product(*each))
