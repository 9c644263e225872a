"""The row that offers to resample a case whose images lie on different grids."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QPushButton, QWidget

from napari_diffseg.plugin.widgets.controls import guard_from_wheel

_TIP: Final = (
    "Brings the images to the voxels of one of them. Positions are taken from the files, nothing is registered. New "
    "layers take the place of the present ones, which are hidden; results and exports lie on these voxels."
)


@dataclass(frozen=True)
class Offer:
    """Images that do not share a grid.

    Attributes
    ----------
    grids : dict of str to str
        The grid of each modality, in words.
    finest : str
        The modality with the smallest voxels.
    """

    grids: dict[str, str]
    finest: str


class ResampleRow(QWidget):
    """A button and the image whose voxels the others are brought to; not there while nothing is offered."""

    asked = Signal(str)
    """The modality to resample to."""

    def __init__(self) -> None:
        super().__init__()
        self.go = QPushButton("Resample to")
        self.go.setObjectName("diffseg_resample")
        self.go.setToolTip(_TIP)
        self.go.clicked.connect(lambda: self.asked.emit(self.reference.currentText()))
        self.reference = QComboBox()
        self.reference.setObjectName("diffseg_resample_reference")
        self.reference.setToolTip("The image that stays as it is; results lie on its voxels.")
        guard_from_wheel(self.reference)
        row = QHBoxLayout(self)
        row.setContentsMargins(9, 0, 9, 0)
        row.addWidget(self.go, 1)
        row.addWidget(self.reference, 1)
        self._offer: Offer | None = None
        self.setVisible(False)

    def show_offer(self, offer: Offer | None) -> None:
        """Offer it, the finest image first; a choice stays while the offer does."""
        self.setVisible(offer is not None)
        if offer == self._offer or offer is None:
            self._offer = offer
            return
        self._offer = offer
        self.reference.clear()
        for name, words in offer.grids.items():
            self.reference.addItem(name)
            self.reference.setItemData(self.reference.count() - 1, words, Qt.ItemDataRole.ToolTipRole)
        self.reference.setCurrentText(offer.finest)
        self.go.setToolTip(f"{_TIP} {offer.finest} has the finest voxels, so with it no detail is lost.")
