"""The part of the panel that starts and stops a run, says how far it is, and chooses what is seen of it."""

from __future__ import annotations

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QMessageBox, QProgressBar, QVBoxLayout, QWidget

from napari_diffseg.plugin.layers.live_layer import Live
from napari_diffseg.plugin.session.progress import describe_seconds
from napari_diffseg.plugin.session.task import Phase
from napari_diffseg.plugin.widgets.controls import breakable, guard_from_wheel
from napari_diffseg.plugin.widgets.named import named_button, named_label

_BAR_STEPS = 1000
RUN_KEY, CANVAS_RUN_KEY = "Ctrl+Return", "Control-Enter"
"""As Qt and as napari write it; what the user reads is Ctrl+Enter."""
_RUN_TIP = "Sample the ensemble, the slice on the screen first (Ctrl+Enter)."
_LIVE_TIP = (
    "What is shown of the slice under way: the noisy sample as it is, from which the mask comes out step by step, or "
    "the mask that each step predicts."
)
_COMPILING_TIP = (
    "The network is compiled for this GPU, once, in another process of low priority. The run that goes on is not "
    "changed by it. Settings can switch this off."
)
_UNDER_WAY = (Phase.RUNNING, Phase.PAUSED, Phase.CANCELLING)


class RunBox(QWidget):
    """Run and Cancel, the live view, a progress bar with the time left, a status line; at the bottom, always in sight.

    What cannot be used is not shown: Run not before there are images and a checkpoint, Cancel and the bar while
    nothing goes on.
    """

    run_asked = Signal()
    cancel_asked = Signal()
    pause_asked = Signal()
    resume_asked = Signal()
    live_changed = Signal(object)
    """What the live layer is to show."""
    compiling_cancelled = Signal()
    """The faster version of the network is not wanted, or what was said of it has been read."""

    def __init__(self) -> None:
        super().__init__()
        self.run = named_button("run", "Run", _RUN_TIP)
        self.pause = named_button("pause", "Pause", "Pause after this step; the run keeps its place and its memory.")
        self.pause.setVisible(False)
        self.resume = named_button("resume", "Resume", "Go on where the run was paused.")
        self.resume.setVisible(False)
        self.cancel = named_button("cancel", "Cancel", "Stop after this step; finished members are kept.")
        self.live = self._make_live()
        self.run.clicked.connect(self.run_asked)
        self.pause.clicked.connect(self.pause_asked)
        self.resume.clicked.connect(self.resume_asked)
        self.cancel.clicked.connect(self.cancel_asked)
        self.bar = QProgressBar()
        self.bar.setObjectName("diffseg_progress")
        self.bar.setToolTip("Share of the work done, and the time left at the speed so far.")
        self.bar.setRange(0, _BAR_STEPS)
        self.reason = named_label("reason", "Why Run is disabled.")
        self.status = named_label("status", "What is going on, or how it ended.")
        self.compiling = named_label("compiling", _COMPILING_TIP)
        self.cancel_compiling = named_button("cancel_compiling", "Cancel", "")
        self.cancel_compiling.clicked.connect(self.compiling_cancelled)
        layout = QVBoxLayout(self)
        buttons = QHBoxLayout()
        for button in (self.run, self.pause, self.resume, self.cancel):
            buttons.addWidget(button)
        buttons.addWidget(self.live)
        layout.addLayout(buttons)
        for widget in (self.reason, self.bar, self.status):
            layout.addWidget(widget)
        row = QHBoxLayout()
        row.addWidget(self.compiling, 1)
        row.addWidget(self.cancel_compiling)
        layout.addLayout(row)
        self.show_compiling("", under_way=False)
        self._is_ready, self._has_reason, self._phase = False, False, Phase.IDLE
        self._show_usable()
        self.show_progress(0, 1, None)

    def _make_live(self) -> QComboBox:
        """No setting of a run, so it may change while one goes on."""
        box = QComboBox()
        box.setObjectName("diffseg_live")
        box.setToolTip(_LIVE_TIP)
        guard_from_wheel(box)
        for live in Live:
            box.addItem(f"Live: {live.value}", live)
        box.currentIndexChanged.connect(lambda _: self.live_changed.emit(box.currentData()))
        return box

    def choose_live(self, live: Live) -> None:
        """Choose what the live layer shows."""
        self.live.setCurrentIndex(self.live.findData(live))

    def show_ready(self, is_ready: bool) -> None:
        """Whether there are images and a checkpoint, so that there is something to run."""
        self._is_ready = is_ready
        self._show_usable()

    def show_phase(self, phase: Phase) -> None:
        """Offer what can be done now: Run gives its place to Pause, and Pause to Resume."""
        self._phase = phase
        self._show_usable()

    def _show_usable(self) -> None:
        phase, goes_on = self._phase, self._phase in _UNDER_WAY
        self.run.setVisible(self._is_ready and phase not in (Phase.RUNNING, Phase.PAUSED))
        self.pause.setVisible(phase is Phase.RUNNING)
        self.resume.setVisible(phase is Phase.PAUSED)
        self.cancel.setVisible(phase is not Phase.IDLE)
        self.cancel.setEnabled(phase in (Phase.RUNNING, Phase.PAUSED, Phase.WORKING))
        self.live.setVisible(self._is_ready or goes_on)
        self.bar.setVisible(goes_on)
        self.reason.setVisible(self._has_reason and not goes_on)

    def show_reason(self, reason: str | None) -> None:
        """Enable Run, or say why it is disabled."""
        self.run.setEnabled(reason is None)
        self.run.setToolTip(reason or _RUN_TIP)
        self.reason.setText(breakable(reason or ""))
        self._has_reason = bool(reason)
        self._show_usable()

    def ask_whether_to_start(self, seconds: float) -> bool:
        """Whether the user wants a run that will take so long."""
        box = QMessageBox(
            QMessageBox.Icon.Question,
            "Start a long run?",
            f"This will take about {describe_seconds(seconds)} on this machine.",
            parent=self,
        )
        box.setInformativeText("Fewer members or timesteps take less, and so does a scope of some slices.")
        box.setTextFormat(Qt.TextFormat.PlainText)
        start = box.addButton("Start", QMessageBox.ButtonRole.AcceptRole)
        box.addButton(QMessageBox.StandardButton.Cancel)
        box.setDefaultButton(QMessageBox.StandardButton.Cancel)
        box.exec()
        return box.clickedButton() is start

    def show_status(self, text: str) -> None:
        """Say what is going on."""
        self.status.setText(breakable(text))

    def show_compiling(self, text: str, *, under_way: bool) -> None:
        """Say what is known of a faster version of the network; nothing where the text is empty."""
        self.compiling.setText(breakable(text))
        self.cancel_compiling.setText("Cancel" if under_way else "Hide")
        self.cancel_compiling.setToolTip("Do not prepare it. Runs go on as before." if under_way else "Hide this line.")
        for widget in (self.compiling, self.cancel_compiling):
            widget.setVisible(bool(text))

    def show_progress(self, done: int, total: int, seconds_left: float | None) -> None:
        """Fill the bar; the time left is written on it once it is known."""
        self.bar.setValue(round(_BAR_STEPS * done / max(total, 1)))
        left = "" if seconds_left is None else f", {describe_seconds(seconds_left)} left"
        self.bar.setFormat(f"%p %{left}")
