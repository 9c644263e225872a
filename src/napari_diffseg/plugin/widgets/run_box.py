"""The part of the panel that starts and stops a run, and says how far it is."""

from __future__ import annotations

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QHBoxLayout,
    QLabel,
    QMessageBox,
    QProgressBar,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from napari_diffseg.plugin.session.progress import describe_seconds
from napari_diffseg.plugin.session.task import Phase
from napari_diffseg.plugin.widgets.controls import breakable, guard_from_wheel

_BAR_STEPS = 1000
_MORE, _MOST_MORE = 5, 999
_MORE_TIP = "Add members to the last run, with its own settings; those it has are not sampled again."
_EXPORT_TIP = "Write mask, mean, uncertainty and members of the run on screen as NIfTI files."


class RunBox(QWidget):
    """Run, Cancel and Export buttons, a progress bar with the time left, a status line; always in sight."""

    run_asked = Signal()
    cancel_asked = Signal()
    pause_asked = Signal()
    resume_asked = Signal()
    more_asked = Signal(int)
    """How many members to add to the last run; 0 to finish one that was stopped."""
    export_asked = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.run = _button("run", "Run", "Sample the ensemble, the slice on the screen first.")
        self.pause = _button("pause", "Pause", "Pause after this step; the run keeps its place and its memory.")
        self.pause.setVisible(False)
        self.resume = _button("resume", "Resume", "Go on where the run was paused.")
        self.resume.setVisible(False)
        self.cancel = _button("cancel", "Cancel", "Stop after this step; finished members are kept.")
        self.export = _button("export", "Export…", _EXPORT_TIP)
        self.run.clicked.connect(self.run_asked)
        self.pause.clicked.connect(self.pause_asked)
        self.resume.clicked.connect(self.resume_asked)
        self.cancel.clicked.connect(self.cancel_asked)
        self.export.clicked.connect(self.export_asked)
        self.bar = QProgressBar()
        self.bar.setObjectName("diffseg_progress")
        self.bar.setToolTip("Share of the work done, and the time left at the speed so far.")
        self.bar.setRange(0, _BAR_STEPS)
        self.reason = _line("reason", "Why Run is disabled.")
        self.status = _line("status", "What is going on, or how it ended.")
        layout = QVBoxLayout(self)
        buttons = QHBoxLayout()
        for button in (self.run, self.pause, self.resume, self.cancel, self.export):
            buttons.addWidget(button)
        layout.addLayout(buttons)
        self.more_row = self._make_more_row()
        layout.addWidget(self.more_row)
        for widget in (self.reason, self.bar, self.status):
            layout.addWidget(widget)
        self.show_progress(0, 1, None)

    def _make_more_row(self) -> QWidget:
        self.more_count = QSpinBox()
        self.more_count.setObjectName("diffseg_more_count")
        self.more_count.setToolTip("How many members to add.")
        self.more_count.setRange(1, _MOST_MORE)
        self.more_count.setValue(_MORE)
        self.more_count.setPrefix("+ ")
        guard_from_wheel(self.more_count)
        self.more = _button("more", "More members", _MORE_TIP)
        self.more.clicked.connect(lambda: self.more_asked.emit(self.more_count.value()))
        self.finish = _button("finish", "Finish", "Sample the members that the stopped run still lacks.")
        self.finish.clicked.connect(lambda: self.more_asked.emit(0))
        row = QWidget()
        row.setVisible(False)
        inside = QHBoxLayout(row)
        inside.setContentsMargins(0, 0, 0, 0)
        for widget in (self.more_count, self.more, self.finish):
            inside.addWidget(widget)
        return row

    def ask_to_replace(self, sentence: str) -> bool:
        """Whether the user allows files in the folder to be replaced."""
        box = QMessageBox(QMessageBox.Icon.Question, "Replace?", sentence, parent=self)
        box.setTextFormat(Qt.TextFormat.PlainText)
        box.setStandardButtons(QMessageBox.StandardButton.Yes | QMessageBox.StandardButton.No)
        return bool(box.exec() == QMessageBox.StandardButton.Yes)

    def show_phase(self, phase: Phase) -> None:
        """Offer what can be done now: Run gives its place to Pause, and Pause to Resume."""
        self.run.setVisible(phase not in (Phase.RUNNING, Phase.PAUSED))
        self.pause.setVisible(phase is Phase.RUNNING)
        self.resume.setVisible(phase is Phase.PAUSED)
        self.cancel.setEnabled(phase in (Phase.RUNNING, Phase.PAUSED, Phase.WORKING))

    def show_reason(self, reason: str | None) -> None:
        """Enable Run, or say why it is disabled."""
        self.run.setEnabled(reason is None)
        self.run.setToolTip(reason or "Sample the ensemble, the slice on the screen first.")
        self.reason.setText(breakable(reason or ""))
        self.reason.setVisible(bool(reason))

    def show_export(self, reason: str | None) -> None:
        """Enable Export, or say why it is disabled."""
        self.export.setEnabled(reason is None)
        self.export.setToolTip(reason or _EXPORT_TIP)

    def show_more(self, *, offered: bool, reason: str | None, unfinished: bool) -> None:
        """Offer more members once there is a run to add to, and to finish one that was stopped.

        Parameters
        ----------
        offered : bool
            Whether there is a run.
        reason : str or None
            Why nothing can be added to it now.
        unfinished : bool
            Whether it was stopped.
        """
        self.more_row.setVisible(offered)
        self.more.setEnabled(reason is None)
        self.more.setToolTip(reason or _MORE_TIP)
        self.finish.setEnabled(reason is None)
        self.finish.setVisible(unfinished)

    def show_status(self, text: str) -> None:
        """Say what is going on."""
        self.status.setText(breakable(text))

    def show_progress(self, done: int, total: int, seconds_left: float | None) -> None:
        """Fill the bar; the time left is written on it once it is known."""
        self.bar.setValue(round(_BAR_STEPS * done / max(total, 1)))
        left = "" if seconds_left is None else f", {describe_seconds(seconds_left)} left"
        self.bar.setFormat(f"%p %{left}")


def _button(name: str, text: str, tip: str) -> QPushButton:
    button = QPushButton(text)
    button.setObjectName(f"diffseg_{name}")
    button.setToolTip(tip)
    return button


def _line(name: str, tip: str) -> QLabel:
    label = QLabel()
    label.setObjectName(f"diffseg_{name}")
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setWordWrap(True)
    label.setToolTip(tip)
    return label
