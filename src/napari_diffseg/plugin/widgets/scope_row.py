"""The control for how much of a case is sampled."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QLabel, QVBoxLayout, QWidget

from napari_diffseg.plugin.session.scope import Scope
from napari_diffseg.plugin.widgets.controls import guard_from_wheel
from napari_diffseg.plugin.widgets.layer_combo import LayerCombo

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari.layers import Layer

    from napari_diffseg.plugin.widgets.controls import Control

_TIPS = {
    Scope.VOLUME: "Every slice that holds brain.",
    Scope.SLICE: "Only the slice that is on the screen when the run begins.",
    Scope.RANGE: "Only slices A:B of the image, B not included.",
    Scope.BOX: "Only within what is drawn; one rectangle goes through all slices, two on different slices bound them.",
}


class ScopeRow(QWidget):
    """A choice of the scope, and below it what it needs: a range, or the layer that the box is drawn in.

    Parameters
    ----------
    slices : Control
        The range.
    """

    changed = Signal(object, object)
    """The scope and, for a drawn box, its layer."""
    box_wanted = Signal()
    """A box is to be drawn, and there is no layer for it."""

    def __init__(self, slices: Control) -> None:
        super().__init__()
        self.choice = QComboBox()
        self.choice.setObjectName("diffseg_scope")
        self.choice.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        for scope, tip in _TIPS.items():
            self.choice.addItem(scope.value, scope)
            self.choice.setItemData(self.choice.count() - 1, tip, Qt.ItemDataRole.ToolTipRole)
        self.slices, self.box = slices, LayerCombo()
        self.box.setObjectName("diffseg_scope_box")
        self.box.setToolTip("The Shapes layer that the box is drawn in.")
        guard_from_wheel(self.choice)
        self.here = QLabel()
        self.here.setObjectName("diffseg_slice_here")
        self.here.setToolTip("The slice on screen, from 0 in the file's order; napari's slider may count otherwise.")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        span = QHBoxLayout()
        span.addWidget(self.slices, 1)
        span.addWidget(self.here)
        layout.addWidget(self.choice)
        layout.addLayout(span)
        layout.addWidget(self.box)
        self._show()
        self.choice.currentIndexChanged.connect(self._take)
        self.box.layer_chosen.connect(self._take_box)
        self._followed: Layer | None = None
        self.slices.changed.connect(self._follow_range)

    @property
    def scope(self) -> Scope:
        """What is chosen."""
        return Scope(self.choice.currentData())

    @property
    def asks_for_range(self) -> bool:
        """Whether the range, and with it the slice on the screen, is in sight."""
        return self.scope is Scope.RANGE

    def show_here(self, index: int | None) -> None:
        """Say which slice is on the screen; None is unknown."""
        self.here.setText("" if index is None else f"on screen: {index}")

    def choose(self, scope: Scope) -> None:
        """Choose a scope."""
        self.choice.setCurrentIndex(list(_TIPS).index(scope))

    def set_layers(self, layers: Iterable[Layer]) -> None:
        """Offer the Shapes layers among these; the last one is taken for the box where none was chosen."""
        drawn = [layer for layer in layers if type(layer).__name__ == "Shapes"]
        self.box.set_layers(drawn)
        if self.scope is Scope.BOX and self.box.layer() is None and drawn:
            self.box.choose(drawn[-1])

    def _take(self) -> None:
        self._show()
        if self.scope is Scope.BOX and self.box.layer() is None:
            self.box_wanted.emit()
        self._tell()

    def _take_box(self, layer: Layer | None) -> None:
        """Another layer: what is drawn in it from now on counts."""
        if self._followed is not None:
            self._followed.events.data.disconnect(self._tell)
        self._followed = layer
        if layer is not None:
            layer.events.data.connect(self._tell)
        self._tell()

    def _tell(self, _event: object = None) -> None:
        self.changed.emit(self.scope, self.box.layer())

    def _show(self) -> None:
        for widget in (self.slices, self.here):
            widget.setVisible(self.asks_for_range)
        self.box.setVisible(self.scope is Scope.BOX)
        self.choice.setToolTip(_TIPS[self.scope])

    def _follow_range(self, text: object) -> None:
        """A range that is set from elsewhere, as by a reopened run, is what is meant."""
        if text is not None:
            self.choose(Scope.RANGE)
        elif self.scope is Scope.RANGE and not self.slices.hasFocus():
            self.choose(Scope.VOLUME)
