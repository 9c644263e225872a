"""Hands the choice of a computer to the session, remembers it, and has its connection tested."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_diffseg.plugin.widgets.compute_box import ComputeBox, ComputeChoice

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_diffseg.plugin.panel.remembered import Remembered
    from napari_diffseg.plugin.session.session import Session
    from napari_diffseg.plugin.widgets.checkpoint_box import CheckpointBox
    from napari_diffseg.remote.computer import Computer


class Computing:
    """Keeps box, session and settings file alike.

    Parameters
    ----------
    session : Session
        Gets the computer.
    remembered : Remembered
        Keeps the choice from one session to the next.
    checkpoint : CheckpointBox
        The choice stands below it: a checkpoint is loaded where it is used.
    attempt : callable
        Does what was asked for, and says why where it cannot be done.
    """

    def __init__(
        self,
        session: Session,
        remembered: Remembered,
        checkpoint: CheckpointBox,
        *,
        attempt: Callable[[Callable[[], None]], None],
    ) -> None:
        self.box = ComputeBox()
        checkpoint.add_below(self.box)
        self._session, self._remembered, self._attempt = session, remembered, attempt
        self._kept = remembered.compute
        """The choice that counts."""
        self.box.show_choice(self._kept)
        if session.why_busy() is None:
            attempt(lambda: session.choose_computer(self._computer()))
        self.box.chosen.connect(self._choose)
        self.box.test_asked.connect(self._test)
        session.connection_tested.connect(self.box.tell)

    def _computer(self) -> Computer | None:
        choice = self.box.choice
        return choice.computer() if choice.is_whole else None

    def _choose(self, choice: ComputeChoice) -> None:
        if choice == self._kept:
            return
        if self._session.why_busy() is not None:  # what the box shows is what counts
            self._attempt(self._session.check_free)
            self.box.show_choice(self._kept)
            return
        self._kept = choice
        self._attempt(lambda: self._session.choose_computer(choice.computer()))
        self._remembered.remember_compute(choice)

    def _test(self, choice: ComputeChoice) -> None:
        self.box.tell("")
        self._attempt(lambda: self._session.test_connection(choice.computer()))
