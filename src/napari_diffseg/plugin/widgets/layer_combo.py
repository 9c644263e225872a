"""A choice of one layer, or to leave it out, that survives renaming, reordering, and other layers' coming and going."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox

from napari_diffseg.plugin.widgets.controls import guard_from_wheel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.layers import Layer

_NONE, _LEFT_OUT = "(choose)", "(left out)"


class LayerCombo(QComboBox):
    """Holds layers by identity; magicgui's own jumps to the first layer when the chosen one is renamed.

    Parameters
    ----------
    none : str
        What stands for no layer.

    Attributes
    ----------
    may_leave_out : bool
        Whether leaving the layer out is offered as a choice of its own.
    """

    layer_chosen = Signal(object)

    def __init__(self, *, none: str = _NONE) -> None:
        super().__init__()
        self._none = none
        self._layers: list[Layer | None] = []
        self.may_leave_out = False
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        guard_from_wheel(self)
        self.set_layers([])
        self.currentIndexChanged.connect(lambda _: self.layer_chosen.emit(self.layer()))

    def layer(self) -> Layer | None:
        """The chosen layer."""
        index = self.currentIndex()
        return self._layers[index] if 0 <= index < len(self._layers) else None

    @property
    def is_left_out(self) -> bool:
        """Whether it is chosen that there is to be none."""
        return self.currentText() == _LEFT_OUT and self.layer() is None

    def set_layers(self, layers: Sequence[Layer]) -> None:
        """Offer these layers; what is chosen stays chosen while it is among them."""
        chosen, left_out = self.layer(), self.is_left_out
        self.blockSignals(True)
        without = [self._none, *([_LEFT_OUT] if self.may_leave_out else [])]
        self._layers = [*(None for _ in without), *layers]
        self.clear()
        self.addItems([*without, *(layer.name for layer in layers)])
        self.setCurrentIndex(1 if left_out and self.may_leave_out else self._index(chosen))
        self.blockSignals(False)
        if self.layer() is not chosen or self.is_left_out != left_out:
            self.layer_chosen.emit(self.layer())

    def choose(self, layer: Layer | None) -> None:
        """Choose a layer."""
        self.setCurrentIndex(self._index(layer))

    def leave_out(self) -> None:
        """Choose that there is to be none, where that is offered."""
        if self.may_leave_out:
            self.setCurrentIndex(1)

    def _index(self, layer: Layer | None) -> int:
        return next((i for i, other in enumerate(self._layers) if other is layer), 0)
