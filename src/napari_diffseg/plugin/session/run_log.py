"""The runs of a session, numbered as their layers are."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from psygnal import Signal

from napari_diffseg.errors import BadRequest
from napari_diffseg.plugin.session.run_entry import RunEntry

if TYPE_CHECKING:
    from napari_diffseg.events import Started
    from napari_diffseg.plugin.background.mailbox import Ending
    from napari_diffseg.plugin.session.reopening import ReopenedRun
    from napari_diffseg.plugin.session.run_plan import RunPlan


class RunLog:
    """What was run, in order; a run that is removed leaves its number unused and its files where they are.

    A listed run keeps its images in memory, the layers' own arrays, so that it can be done again.
    """

    changed: ClassVar[Signal] = Signal()
    removed: ClassVar[Signal] = Signal(object)
    """The record that was taken from the list."""

    def __init__(self) -> None:
        self._last: RunEntry | None = None
        self._listed: list[RunEntry] = []
        self._count = 0

    @property
    def records(self) -> tuple[RunEntry, ...]:
        """The runs that are listed, oldest first."""
        return tuple(self._listed)

    @property
    def last(self) -> RunEntry | None:
        """The run whose results are on the screen, if it is listed; members can be added to it."""
        return self._last

    def started(self, plan: RunPlan, started: Started) -> None:
        """A run has begun; one whose plan resumes is the last one, taken up again."""
        if plan.resume and self._last is not None:
            self._last.take_up(plan, started)
        else:
            self._add(RunEntry(self._count + 1, plan, started))
        self.changed.emit()

    def reopened(self, run: ReopenedRun) -> None:
        """A kept run has been brought back."""
        self._add(RunEntry(self._count + 1, run.plan, run.started, run.ending, run.missing))
        self.changed.emit()

    def _add(self, record: RunEntry) -> None:
        self._count = record.number
        self._last = record
        self._listed.append(record)

    def ended(self, ending: Ending) -> None:
        """The last run has ended."""
        if self._last is not None:
            self._last.ending = ending
            self.changed.emit()

    def judged(self, layer_prefix: str, dice: float) -> None:
        """The mask of a run has been held against the reference."""
        for record in self._listed:
            if record.layer_prefix == layer_prefix and record.dice != dice:
                record.dice = dice
                self.changed.emit()

    def forget_judgements(self) -> None:
        """The reference is another: what was found by the one before no longer counts."""
        if any(record.dice is not None for record in self._listed):
            for record in self._listed:
                record.dice = None
            self.changed.emit()

    def remove(self, record: RunEntry) -> None:
        """Take a run from the list.

        Raises
        ------
        BadRequest
            If it is going on.
        """
        if record.ending is None:
            raise BadRequest(f"Run {record.number} is going on: wait for it, or cancel it, before it is removed.")
        self._listed.remove(record)
        if record is self._last:
            self._last = None
        self.changed.emit()
        self.removed.emit(record)
