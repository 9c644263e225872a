"""What a session tells those who listen, always on the GUI thread."""

from __future__ import annotations

from typing import ClassVar

from psygnal import Signal

from napari_diffseg.plugin.session.task import Phase


class SessionSignals:
    """The signals of a session."""

    def forget_listeners(self) -> None:
        """Tell nobody any more who listens now: the panel is closed, and another may come."""
        for name in dir(SessionSignals):
            if isinstance(getattr(SessionSignals, name), Signal):
                getattr(self, name).disconnect()

    phase_changed: ClassVar[Signal] = Signal(Phase)
    message: ClassVar[Signal] = Signal(str)
    """What is going on, in words."""
    failed: ClassVar[Signal] = Signal(str, str)
    """The sentence of an error, and the name of its class."""
    changed: ClassVar[Signal] = Signal()
    """An input, the checkpoint or a setting is another, so `why_not_run` may be."""
    checkpoint_loaded: ClassVar[Signal] = Signal()
    """The checkpoint is another, or there is none any more: `recipe` and `checkpoint_rows` tell."""
    brought: ClassVar[Signal] = Signal(object)
    """A LayerReady: a layer of what is being opened."""
    case_read: ClassVar[Signal] = Signal()
    """All layers of a case that was asked for with `open_case` have been brought."""
    cases_found: ClassVar[Signal] = Signal(object)
    """The CaseFolder that was to be opened: it holds several cases, of which one is to be chosen."""
    case_opened: ClassVar[Signal] = Signal(object)
    """An OpenedCase of a folder of cases, whose layers have been brought."""
    case_refused: ClassVar[Signal] = Signal(str)
    """Why a case of a folder of cases cannot be opened; `failed` tells it, too."""
    reopened: ClassVar[Signal] = Signal(object)
    """A ReopenedRun whose images have been brought; it takes the screen after this."""
    started: ClassVar[Signal] = Signal(object)
    """The RunResult of a run that has begun; it is on the screen."""
    extended: ClassVar[Signal] = Signal(object)
    """The RunResult of a run that goes on, with members that are added to it."""
    expected: ClassVar[Signal] = Signal(object)
    """An Expected or Refined event, which the run's ensemble has taken in."""
    sampled: ClassVar[Signal] = Signal(list)
    """The Sampled events since the last poll, which the run's ensemble has taken in."""
    previewed: ClassVar[Signal] = Signal(object)
    """A Stepped that has a preview."""
    preview_ended: ClassVar[Signal] = Signal(object)
    """A Stepped from which on there are no previews, until the next one comes."""
    progress: ClassVar[Signal] = Signal(int, int, object)
    """Evaluations done, of all, and the seconds left (None while unknown)."""
    timed: ClassVar[Signal] = Signal(object)
    """A Timed: how long an evaluation takes here."""
    run_ended: ClassVar[Signal] = Signal(object)
    """The run's Ending."""
    seed_drawn: ClassVar[Signal] = Signal(object)
    """The seed that the run now starting has drawn."""
    connection_tested: ClassVar[Signal] = Signal(str)
    """What a test of a connection has found, in words."""
    exported: ClassVar[Signal] = Signal(object)
    """The folder that results were exported to."""
