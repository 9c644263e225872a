"""Says that a faster version of the network is being prepared, and has it cancelled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from qtpy.QtCore import QObject, QTimer

from napari_diffseg.plugin.session.progress import describe_compiling
from napari_diffseg.plugin.session.task import Phase
from napari_diffseg.segmenting.device.compiling import CompilePhase, Compiling

if TYPE_CHECKING:
    from napari_diffseg.plugin.panel.remembered import Remembered
    from napari_diffseg.plugin.session.session import Session
    from napari_diffseg.plugin.widgets.run_box import RunBox

_LOOK_MS: Final = 500


class CompilingLine(QObject):
    """Keeps the line below the status up to date with what is compiled, and the session with the setting.

    Looks only while something goes on that may begin it, or it is under way.

    Parameters
    ----------
    session : Session
        Whose engine compiles.
    remembered : Remembered
        Says whether it is wanted.
    box : RunBox
        Shows it.
    """

    def __init__(self, session: Session, remembered: Remembered, box: RunBox) -> None:
        super().__init__(box)
        self._session, self._box = session, box
        self._hidden: Compiling | None = None
        """What the user has read."""
        self._timer = QTimer(self)
        self._timer.setInterval(_LOOK_MS)
        self._timer.timeout.connect(self.look)
        session.set_compile_meanwhile(remembered.compile_meanwhile)
        session.phase_changed.connect(self._follow)
        session.batch.changed.connect(self._begin)
        box.compiling_cancelled.connect(self._cancel)
        self._begin()

    def close(self) -> None:
        """Look no more."""
        self._timer.stop()

    def look(self) -> None:
        """Show how far it is."""
        state = self._state
        shown = "" if state == self._hidden else describe_compiling(state)
        self._box.show_compiling(shown, under_way=state.phase is CompilePhase.UNDER_WAY)
        is_busy = self._session.phase is not Phase.IDLE or self._session.batch.is_going_on
        if not is_busy and state.phase is not CompilePhase.UNDER_WAY:
            self._timer.stop()

    @property
    def _state(self) -> Compiling:
        compiler = self._session.compiler
        return Compiling() if compiler is None else compiler.state

    def _follow(self, phase: Phase) -> None:
        if phase is Phase.RUNNING and self._state.phase is not CompilePhase.UNDER_WAY:
            self._hidden = self._state  # it was there to be read until now
        self._begin()

    def _begin(self) -> None:
        if not self._timer.isActive():
            self._timer.start()

    def _cancel(self) -> None:
        if (compiler := self._session.compiler) is not None:
            compiler.cancel()
        self._hidden = self._state
        self.look()
