"""The runs of a session, numbered as their layers are."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from psygnal import Signal

from napari_diffseg.errors import BadRequest
from napari_diffseg.plugin.grid.same_case import are_same_case
from napari_diffseg.plugin.session.run_entry import RunEntry
from napari_diffseg.plugin.session.run_result import RunResult
from napari_diffseg.plugin.session.run_store import OpenMarks

if TYPE_CHECKING:
    from pathlib import Path

    from napari_diffseg.events import Started
    from napari_diffseg.plugin.background.mailbox import Ending
    from napari_diffseg.plugin.session.reopening import ReopenedRun
    from napari_diffseg.plugin.session.run_plan import RunPlan


class RunLog:
    """What was run, in order; a run that is removed leaves its number unused and its files where they are.

    A listed run keeps its images in memory, the layers' own arrays, so that it can be done again.
    """

    changed: ClassVar[Signal] = Signal()
    """The list is another, or what it says of a run."""
    shown: ClassVar[Signal] = Signal(object)
    """The RunEntry that is to be on the screen from now on, or None."""
    removed: ClassVar[Signal] = Signal(object)
    """The record that was taken from the list."""

    def __init__(self) -> None:
        self._on_screen: RunEntry | None = None
        self._listed: list[RunEntry] = []
        self._count = 0
        self._marks = OpenMarks()

    def forget_listeners(self) -> None:
        """Tell nobody any more who listens now."""
        for signal in (self.changed, self.shown, self.removed):
            signal.disconnect()

    @property
    def records(self) -> tuple[RunEntry, ...]:
        """The runs that are listed, oldest first."""
        return tuple(self._listed)

    @property
    def on_screen(self) -> RunEntry | None:
        """The run whose results are on the screen: it is explored and exported, and members can be added to it."""
        return self._on_screen

    def folder_of(self, result: RunResult) -> Path | None:
        """Where a listed run is kept, by its result."""
        return next((entry.plan.folder for entry in self._listed if entry.result is result), None)

    def begun(self, plan: RunPlan, started: Started) -> RunEntry:
        """A run has begun, and takes the screen."""
        entry = RunEntry(plan, RunResult(self._count + 1, started, plan.frame))
        self._add(entry)
        return entry

    def reopened(self, run: ReopenedRun) -> None:
        """A kept run has been brought back, and takes the screen."""
        result = RunResult(self._count + 1, run.started, run.frame)
        if run.expected is not None:
            result.ensemble.expected = run.expected
        result.add(run.sampled)
        result.edited = {edited.number: edited for edited in run.edited}
        self._add(RunEntry(run.plan, result, run.ending, run.missing))

    def _add(self, entry: RunEntry) -> None:
        self._count = entry.number
        self._listed.append(entry)
        self._marks.add(entry.plan.folder)
        self.show(entry)

    def show(self, entry: RunEntry | None) -> None:
        """Put a listed run on the screen, or none."""
        if entry is not self._on_screen:
            self._on_screen = entry
            self.shown.emit(entry)
        self.changed.emit()

    def ended(self, entry: RunEntry, ending: Ending) -> None:
        """A run has ended."""
        entry.ending = ending
        self.changed.emit()

    def judged(self, layer_prefix: str, dice: float) -> None:
        """The mask of a run has been held against the reference."""
        for record in self._listed:
            if record.layer_prefix == layer_prefix and record.dice != dice:
                record.dice = dice
                self.changed.emit()

    def forget_judgements(self) -> None:
        """The reference of the case on the screen is another: what was found by the one before no longer counts."""
        shown = self._on_screen
        if shown is None:
            return
        judged = [r for r in self._listed if r.dice is not None and are_same_case(r.plan.case, shown.plan.case)]
        for record in judged:
            record.dice = None
        if judged:
            self.changed.emit()

    def remove(self, record: RunEntry) -> None:
        """Take a run from the list; where it was on the screen, the newest of the same case takes its place.

        Raises
        ------
        BadRequest
            If it is going on.
        """
        if record.ending is None:
            raise BadRequest(f"Run {record.number} is going on: wait for it, or cancel it, before it is removed.")
        self._listed.remove(record)
        if all(other.plan.folder != record.plan.folder for other in self._listed):
            self._marks.remove(record.plan.folder)
        if record is self._on_screen:
            same = (r for r in reversed(self._listed) if are_same_case(r.plan.case, record.plan.case))
            self.show(next(same, None))
        self.changed.emit()
        self.removed.emit(record)
