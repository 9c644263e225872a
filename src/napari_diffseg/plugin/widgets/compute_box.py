"""The part of the panel that chooses the computer on which the next run is computed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QComboBox, QFormLayout, QLabel, QLineEdit, QPushButton, QSpinBox, QWidget

from napari_diffseg.errors import BadRequest
from napari_diffseg.plugin.widgets.fold import Fold
from napari_diffseg.remote.computer import OUTLIVE_S, PROGRAM, Computer

HERE: Final = "here"
PROCESS: Final = "process"
SSH: Final = "ssh"
MOST_MINUTES: Final = 120
"""For which a run may go on without its link."""
_PLACES: Final = {
    HERE: "this computer",
    PROCESS: "another process here",
    SSH: "another computer (SSH)",
}


@dataclass(frozen=True, slots=True)
class ComputeChoice:
    """Where runs are computed: `place` is one of here, process, ssh; the others count for ssh."""

    place: str = HERE
    host: str = ""
    command: str = PROGRAM
    outlive_minutes: int = round(OUTLIVE_S / 60)

    @property
    def is_whole(self) -> bool:
        """Whether nothing is missing."""
        return self.place != SSH or bool(self.host.strip())

    def computer(self) -> Computer | None:
        """The computer; None for this process.

        Raises
        ------
        BadRequest
            If the host's name is none.
        """
        if self.place == HERE:
            return None
        if self.place == PROCESS:
            return Computer()
        if not self.is_whole:
            raise BadRequest("Choose the other computer: give user@host, or a name of ~/.ssh/config, under Compute.")
        outlive_s = 60.0 * self.outlive_minutes
        return Computer(self.host.strip(), self.command.strip() or PROGRAM, outlive_s=outlive_s)


class ComputeBox(Fold):
    """Folded; its title says what is chosen."""

    chosen = Signal(object)
    """A ComputeChoice that is whole."""
    test_asked = Signal(object)
    """A ComputeChoice whose connection is to be tested."""

    def __init__(self) -> None:
        self.place = QComboBox()
        self.place.setObjectName("diffseg_compute_place")
        self.place.setAccessibleName("Compute on")
        self.place.setToolTip(
            "Where runs are computed. Another process keeps the window smooth and goes on if PyTorch crashes; another "
            "computer is reached by SSH, without a password, and needs napari-diffseg there."
        )
        for place, words in _PLACES.items():
            self.place.addItem(words, place)
        self.host = _line("compute_host", "user@host", "The other computer: user@host, or a name of ~/.ssh/config.")
        self.command = _line(
            "compute_command",
            PROGRAM,
            "The command that starts napari-diffseg there: its full path where it is not found, or, on the login node "
            "of a cluster, srun -G 1 napari-diffseg.",
        )
        self.outlive = _minutes()
        self.test = QPushButton("Test connection")
        self.test.setObjectName("diffseg_compute_test")
        self.test.setToolTip("Start the engine there, ask how quickly it answers and what it has, and end it.")
        self.told = QLabel()
        self.told.setObjectName("diffseg_compute_told")
        self.told.setToolTip("What the last test of the connection has found.")
        self.told.setTextFormat(Qt.TextFormat.PlainText)
        self.told.setWordWrap(True)
        self.told.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        inner = QWidget()
        self._form = QFormLayout(inner)
        self._form.setContentsMargins(0, 0, 0, 0)
        self._form.addRow(self.place)  # the title says what it is; a label above it, as in wrapped rows, gets no height
        self._form.addRow("Computer", self.host)
        self._form.addRow("Command", self.command)
        self._form.addRow("Link lost", self.outlive)
        self._form.addRow(self.test)
        self._form.addRow(self.told)
        super().__init__("compute", "Compute", tip="On which computer runs are computed.", content=inner)
        self._last = ComputeChoice()
        self.place.currentIndexChanged.connect(self._changed)
        self.host.editingFinished.connect(self._changed)
        self.command.editingFinished.connect(self._changed)
        self.outlive.valueChanged.connect(self._changed)
        self.test.clicked.connect(lambda: self.test_asked.emit(self.choice))
        self._show()

    @property
    def choice(self) -> ComputeChoice:
        """What is chosen now, whole or not."""
        return ComputeChoice(
            str(self.place.currentData()),
            self.host.text().strip(),
            self.command.text().strip() or PROGRAM,
            self.outlive.value(),
        )

    def show_choice(self, choice: ComputeChoice) -> None:
        """Show what was chosen before, and tell of it where it is another."""
        self.place.blockSignals(True)
        self.place.setCurrentIndex(max(self.place.findData(choice.place), 0))
        self.place.blockSignals(False)
        self.outlive.blockSignals(True)
        self.outlive.setValue(choice.outlive_minutes)
        self.outlive.blockSignals(False)
        self.host.setText(choice.host)
        self.command.setText("" if choice.command == PROGRAM else choice.command)
        self._changed()

    def tell(self, text: str) -> None:
        """Say what a test has found."""
        self.told.setText(text)
        self.told.setVisible(bool(text))

    def _changed(self, _index: object = None) -> None:
        self._show()
        choice = self.choice
        if choice != self._last and choice.is_whole:
            self._last = choice
            self.tell("")
            self.chosen.emit(choice)

    def _show(self) -> None:
        choice = self.choice
        for row in (self.host, self.command, self.outlive):
            self._form.setRowVisible(row, choice.place == SSH)
        self.test.setVisible(choice.place != HERE)
        self.test.setEnabled(choice.is_whole)
        where = choice.host if choice.place == SSH and choice.host else _PLACES[choice.place]
        self.set_title(f"Compute: {where}")
        self.told.setVisible(bool(self.told.text()))


def _line(name: str, placeholder: str, tip: str) -> QLineEdit:
    line = QLineEdit()
    line.setObjectName(f"diffseg_{name}")
    line.setPlaceholderText(placeholder)
    line.setToolTip(tip)
    return line


def _minutes() -> QSpinBox:
    box = QSpinBox()
    box.setObjectName("diffseg_compute_outlive")
    box.setAccessibleName("Minutes that a run goes on when the link is lost")
    box.setToolTip(
        "How long a run goes on there when the connection is lost, and how long it is tried to connect again. "
        "0: the run ends."
    )
    box.setRange(0, MOST_MINUTES)
    box.setPrefix("go on for ")
    box.setSuffix(" min")
    box.setKeyboardTracking(False)
    box.setValue(ComputeChoice().outlive_minutes)
    return box
