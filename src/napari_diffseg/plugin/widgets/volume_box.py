"""The part of the panel that shows how large the lesion is in each member, and brings a member on the screen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from napari_diffseg.plugin.widgets.plots.brick_histogram import BrickHistogram

if TYPE_CHECKING:
    from napari_diffseg.ensemble.volumes import Volumes


class VolumeBox(QWidget):
    """A histogram of the members' volumes, and buttons for the members that stand for the ensemble."""

    picked = Signal(object)
    """The member to bring on the screen; None for none."""

    def __init__(self) -> None:
        super().__init__()
        self._volumes: Volumes | None = None
        self._chosen: int | None = None
        self.histogram = BrickHistogram("ml")
        self.histogram.picked.connect(self._pick)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.histogram)
        layout.addLayout(self._make_buttons())
        self.shared = QCheckBox("One layer with a slider")
        self.shared.setObjectName("diffseg_one_layer")
        self.shared.setToolTip("All members in one layer, with a slider below the canvas; many members always are.")
        layout.addWidget(self.shared)
        self.show_volumes(None)

    def _make_buttons(self) -> QHBoxLayout:
        row = QHBoxLayout()
        self.buttons: dict[str, QPushButton] = {}
        for name, text, tip in (
            ("smallest", "Smallest", "Show the member with the smallest volume."),
            ("medoid", "Median", "Show the member that differs from all others in the fewest voxels (the medoid)."),
            ("largest", "Largest", "Show the member with the largest volume."),
            ("none", "None", "Show no member."),
        ):
            button = QPushButton(text)
            button.setObjectName(f"diffseg_member_{name}")
            button.setToolTip(tip)
            button.clicked.connect(lambda _=False, name=name: self._press(name))
            row.addWidget(button)
            self.buttons[name] = button
        return row

    def show_volumes(self, volumes: Volumes | None) -> None:
        """Show volumes, or that there are none."""
        self._volumes = volumes
        for button in self.buttons.values():
            button.setEnabled(volumes is not None)
        if volumes is None:
            self.histogram.set_values({}, 0.0, (0.0, 0.0))
            self.choose(None)
        else:
            self.histogram.set_values(volumes.by_member, volumes.mean_ml, volumes.interval_ml)

    def choose(self, member: int | None) -> None:
        """Say which member is on the screen."""
        self._chosen = member
        self.histogram.choose(member)

    def _press(self, name: str) -> None:
        assert self._volumes is not None  # the buttons are off without
        self._tell(None if name == "none" else getattr(self._volumes, name))

    def _pick(self, member: int) -> None:
        self._tell(None if member == self._chosen else member)

    def _tell(self, member: int | None) -> None:
        self.choose(member)
        self.picked.emit(member)
