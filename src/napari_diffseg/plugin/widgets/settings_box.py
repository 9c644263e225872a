"""The part of the panel that holds the settings of a run, made from SegmentRequest's fields."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QGridLayout,
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_diffseg.events import SegmentRequest
from napari_diffseg.plugin.widgets.controls import Control, SliderControl, make_control
from napari_diffseg.plugin.widgets.fold import Fold
from napari_diffseg.plugin.widgets.scope_row import ScopeRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_diffseg.recipe import Recipe

SLIDERS: Final = ("members", "timesteps")
FIRST: Final = (*SLIDERS, "slices")
FROM_SCREEN: Final = ("focus", "window")
"""Settings that have no control: the slice on the screen is the focus, and a drawn box is the window."""
SCOPE: Final = "slices"
"""The setting that is a part of the scope's control."""
PRESETS: Final = {
    "rough": (1, "1 timestep for each mask: the quickest, and rough. What few readers would mark is left out."),
    "usual": (
        10,
        "10 timesteps for each mask. Lesions that few readers would mark are in too few masks.",
    ),
    "paper": (1000, "1000 timesteps for each mask, as in the paper: the slowest, which leaves out least."),
}
"""Timesteps that have a name."""
_NO_SECOND_PLANE: Final = "The checkpoint has no second plane: all members are sampled in the same slices."
_FOLDED_FIRST: Final = ("seed", "device")
ADVANCED: Final = (
    *_FOLDED_FIRST,
    *(name for name in SegmentRequest.model_fields if name not in FIRST + FROM_SCREEN + _FOLDED_FIRST),
)


class SettingsBox(QGroupBox):
    """One control for each setting; the everyday ones first, the others folded away."""

    changed = Signal(str, object)
    """A setting's name and its new value."""
    keep_seed_changed = Signal(bool)
    """Whether runs have the seed that is shown, or each draws a new one."""

    def __init__(self) -> None:
        super().__init__("Run")
        self.controls: dict[str, Control] = {}
        self.keep_seed = QCheckBox("keep")
        self.keep_seed.setObjectName("diffseg_keep_seed")
        self.keep_seed.setToolTip(
            "Ticked: every run uses this seed, so gives the same masks. Otherwise each run takes a new seed."
        )
        self.keep_seed.setChecked(True)
        self.keep_seed.toggled.connect(self.keep_seed_changed)
        layout = QVBoxLayout(self)
        layout.addLayout(self._grid(SLIDERS))
        layout.addLayout(self._make_presets())
        layout.addLayout(self._grid(FIRST[len(SLIDERS) :]))
        self.forecast = self._make_forecast()
        layout.addWidget(self.forecast)
        inner = QWidget()
        grid = self._grid(ADVANCED)
        grid.setContentsMargins(0, 0, 0, 0)
        inner.setLayout(grid)
        self.advanced = Fold("advanced", "Advanced", tip="Settings that are rarely changed.", content=inner)
        layout.addWidget(self.advanced)

    def _make_presets(self) -> QHBoxLayout:
        row = QHBoxLayout()
        self._presets: dict[int, QPushButton] = {}
        for name, (timesteps, tip) in PRESETS.items():
            button = QPushButton(f"{timesteps} ({name})")
            button.setObjectName(f"diffseg_preset_{timesteps}")
            button.setToolTip(tip)
            button.clicked.connect(partial(self._choose_timesteps, timesteps))
            row.addWidget(button)
            self._presets[timesteps] = button
        return row

    def _choose_timesteps(self, timesteps: int, _checked: object = None) -> None:
        self.controls["timesteps"].set_value(timesteps)

    def _grid(self, names: Sequence[str]) -> QGridLayout:
        grid = QGridLayout()
        grid.setColumnStretch(1, 1)
        for row, name in enumerate(names):
            field = SegmentRequest.model_fields[name]
            control = make_control(name, field, slider=name in SLIDERS)
            control.changed.connect(lambda value, name=name: self.changed.emit(name, value))
            self.controls[name] = control
            label = QLabel("Scope" if name == SCOPE else field.title or name)
            label.setToolTip("How much of the case is sampled." if name == SCOPE else field.description or "")
            label.setBuddy(control)
            grid.addWidget(label, row, 0)
            grid.addWidget(self._dressed(name, control), row, 1)
        return grid

    def _make_forecast(self) -> QLabel:
        label = QLabel()
        label.setObjectName("diffseg_forecast")
        label.setTextFormat(Qt.TextFormat.PlainText)
        label.setWordWrap(True)
        label.setToolTip(
            "What the next run takes on this machine: time by what the last run with these settings took, memory "
            "above the loaded network."
        )
        label.setVisible(False)
        return label

    def show_forecast(self, text: str) -> None:
        """Say what the next run takes; nothing where it is not known what that is."""
        self.forecast.setText(text)
        self.forecast.setVisible(bool(text))

    def _dressed(self, name: str, control: Control) -> QWidget:
        """The control, with what belongs to it."""
        if name == "seed":
            return _beside(control, self.keep_seed)
        if name == SCOPE:
            self.scope = ScopeRow(control)
            return self.scope
        return control

    def follow(self, recipe: Recipe, timesteps_before: int | None = None) -> None:
        """Bound the timesteps by those that the checkpoint was trained with, and start from its own number.

        `timesteps_before`, those it was last run with, come first if they are within the bounds.
        """
        timesteps = self.controls["timesteps"]
        assert isinstance(timesteps, SliderControl)  # it is among SLIDERS
        timesteps.set_range(1, recipe.train_timesteps)
        for count, button in self._presets.items():
            button.setEnabled(count <= recipe.train_timesteps)
        before = timesteps_before or recipe.timesteps
        timesteps.set_value(before if before <= recipe.train_timesteps else recipe.timesteps)

    def offer_second_plane(self, is_there: bool) -> None:
        """Offer the second plane, or say that the checkpoint has none."""
        control = self.controls["second_plane"]
        control.setEnabled(is_there)
        told = SegmentRequest.model_fields["second_plane"].description or ""
        control.setToolTip(told if is_there else _NO_SECOND_PLANE)


def _beside(control: QWidget, box: QWidget) -> QWidget:
    both = QWidget()
    row = QHBoxLayout(both)
    row.setContentsMargins(0, 0, 0, 0)
    row.addWidget(control, 1)
    row.addWidget(box)
    return both
