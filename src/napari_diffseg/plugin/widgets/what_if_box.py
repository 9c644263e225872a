"""The part of the panel that asks what the members would be without an image, or with another in its place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QComboBox, QGridLayout, QLabel, QPushButton, QWidget

from napari_diffseg.plugin.canvas.add_layer import bare
from napari_diffseg.plugin.canvas.result_style import difference_style
from napari_diffseg.plugin.grid.frame import RESULT_KEY
from napari_diffseg.plugin.widgets.controls import guard_from_wheel
from napari_diffseg.plugin.widgets.layer_combo import LayerCombo
from napari_diffseg.plugin.widgets.legend import Legend

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from napari.layers import Layer

LEFT_OUT: Final = "left out"
_NOTHING: Final = "Samples the slice on screen with one image changed and the run's own noise. The run stays as it is."


class WhatIfBox(QWidget):
    """Which image, what in its place, a button that tries it on the slice on the screen, and what came of it."""

    asked = Signal()
    """What is chosen is to be tried."""

    def __init__(self) -> None:
        super().__init__()
        self.modality = QComboBox()
        self.modality.setObjectName("diffseg_what_if_modality")
        self.modality.setToolTip("The image that is changed.")
        self.modality.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        guard_from_wheel(self.modality)
        self.instead = LayerCombo(none=LEFT_OUT)
        self.instead.setObjectName("diffseg_what_if_instead")
        self.instead.setToolTip("Another open image on the same voxels, or nothing.")
        self.go = QPushButton("Try on this slice")
        self.go.setObjectName("diffseg_what_if")
        self.go.setToolTip(_NOTHING)
        self.go.clicked.connect(self.asked)
        self.legend = Legend("difference_legend", difference_style())
        self.legend.set_texts("-1", "members: run - changed", "1")
        self.line = QLabel(_NOTHING)
        self.line.setObjectName("diffseg_what_if_line")
        self.line.setToolTip("What the change does to the majority of the members.")
        self.line.setTextFormat(Qt.TextFormat.PlainText)
        self.line.setWordWrap(True)
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setColumnStretch(1, 1)
        for row, (text, widget) in enumerate((("Image", self.modality), ("Replace with", self.instead))):
            grid.addWidget(QLabel(text), row, 0)
            grid.addWidget(widget, row, 1)
        below: tuple[QWidget, ...] = (self.go, self.line, self.legend)
        for row, wide in enumerate(below, start=2):
            grid.addWidget(wide, row, 0, 1, 2)
        self.say("")

    def set_modalities(self, names: Sequence[str]) -> None:
        """Offer images to change, and keep the choice where it is among them."""
        if [self.modality.itemText(n) for n in range(self.modality.count())] == list(names):
            return
        chosen = self.modality.currentText()
        self.modality.clear()
        self.modality.addItems(list(names))
        self.modality.setCurrentIndex(max(self.modality.findText(chosen), 0))

    def set_layers(self, layers: Iterable[Layer]) -> None:
        """Offer the layers that can take an image's place."""
        self.instead.set_layers([layer for layer in map(bare, layers) if _can_be_image(layer)])

    def say(self, words: str, *, shown: bool = False) -> None:
        """Say what came of it, or why nothing did, and explain the colours if a map is shown."""
        self.line.setText(words or _NOTHING)
        self.legend.setVisible(shown)


def _can_be_image(layer: Layer) -> bool:
    is_image = hasattr(layer, "contrast_limits") and layer.ndim == 3 and not getattr(layer, "rgb", False)
    return is_image and RESULT_KEY not in layer.metadata
