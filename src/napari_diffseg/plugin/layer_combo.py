"""A choice of one layer that survives renaming, reordering, and other layers' coming and going."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox

from napari_diffseg.plugin.controls import guard_from_wheel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.layers import Layer

_NONE = "(choose)"


class LayerCombo(QComboBox):
    """Holds layers by identity; magicgui's own jumps to the first layer when the chosen one is renamed.

    Parameters
    ----------
    none : str
        What stands for no layer.
    """

    layer_chosen = Signal(object)

    def __init__(self, *, none: str = _NONE) -> None:
        super().__init__()
        self._none = none
        self._layers: list[Layer | None] = []
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        guard_from_wheel(self)
        self.set_layers([])
        self.currentIndexChanged.connect(lambda _: self.layer_chosen.emit(self.layer()))

    def layer(self) -> Layer | None:
        """The chosen layer."""
        index = self.currentIndex()
        return self._layers[index] if 0 <= index < len(self._layers) else None

    def set_layers(self, layers: Sequence[Layer]) -> None:
        """Offer these layers; the chosen one stays chosen while it is among them."""
        chosen = self.layer()
        self.blockSignals(True)
        self._layers = [None, *layers]
        self.clear()
        self.addItems([self._none, *(layer.name for layer in layers)])
        self.setCurrentIndex(self._index(chosen))
        self.blockSignals(False)
        if self.layer() is not chosen:
            self.layer_chosen.emit(self.layer())

    def choose(self, layer: Layer | None) -> None:
        """Choose a layer."""
        self.setCurrentIndex(self._index(layer))

    def _index(self, layer: Layer | None) -> int:
        return next((i for i, other in enumerate(self._layers) if other is layer), 0)
