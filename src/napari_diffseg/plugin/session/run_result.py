"""What a run has found so far: its ensemble, which belongs to the session and which layers draw."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from napari_diffseg.ensemble.ensemble import Ensemble
from napari_diffseg.imaging.names.naming import shown_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_diffseg.events import Expected, Found, Refined, Sampled, Started, Stepped
    from napari_diffseg.plugin.grid.frame import Frame
    from napari_diffseg.runs.edited_mask import EditedMask


@dataclass(eq=False)
class RunResult:
    """The ensemble of one run of one case; it grows while the run goes on.

    Attributes
    ----------
    number : int
        The run's place among the session's runs, from 1.
    started : Started
        What the run covers, with all members that were ever asked for.
    frame : Frame
        How the case's grid lies on the screen.
    ensemble : Ensemble
        The members, and the one-step estimate.
    edited : dict of int to EditedMask
        Corrections of its mask by their numbers, as they were seen last.
    """

    number: int
    started: Started
    frame: Frame
    ensemble: Ensemble = field(init=False)
    edited: dict[int, EditedMask] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.ensemble = Ensemble.for_run(self.started)

    @property
    def prefix(self) -> str:
        """How the names of its layers begin."""
        return f"diffseg {self.number}"

    @property
    def case(self) -> str:
        """The name of the case that it is of."""
        return self.started.case_id

    @property
    def title(self) -> str:
        """The run in a heading, such as `run 2 of case_1`."""
        return f"run {self.number} of {shown_name(self.case)}"

    def is_of(self, event: Found | Stepped) -> bool:
        """Whether an event is one of this run's."""
        return event.run_id == self.started.run_id

    def add(self, events: Iterable[Sampled]) -> None:
        """Add members on the slices on which they are final; events of other runs are left out."""
        for event in filter(self.is_of, events):
            self.ensemble.add(event.member, event.slices, event.mask)

    def expect(self, event: Expected | Refined) -> None:
        """Take in the one-step estimate of some slices, or as it is refined, where the run has one."""
        if self.is_of(event) and self.ensemble.expected is not None:
            self.ensemble.take(event)

    def extend(self, started: Started) -> None:
        """Go on with members that are added; those that there are stay."""
        before = self.started
        self.started = replace(
            started,
            members=tuple(sorted({*before.members, *started.members})),
            members_across=tuple(sorted({*before.members_across, *started.members_across})),
            plane_across=started.plane_across or before.plane_across,
            slices_across=started.slices_across or before.slices_across,
        )
