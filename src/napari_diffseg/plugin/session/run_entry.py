"""One run of a session: what it was made of, and how it stands."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING

from napari_diffseg.imaging.names.naming import shown_name
from napari_diffseg.plugin.background.mailbox import Ending
from napari_diffseg.plugin.session.run_store import begun_at
from napari_diffseg.plugin.session.scope import scope_words

if TYPE_CHECKING:
    from napari_diffseg.events import Started
    from napari_diffseg.plugin.session.run_plan import RunPlan
    from napari_diffseg.plugin.session.run_result import RunResult

_ENDINGS = {None: "; going on", Ending.DONE: "", Ending.CANCELLED: "; stopped", Ending.FAILED: "; failed"}


@dataclass(eq=False)
class RunEntry:
    """A run that has started; members can be added to it.

    Attributes
    ----------
    plan : RunPlan
        What it is made of; after an extension, with all its members.
    result : RunResult
        Its ensemble, as far as it has come.
    ending : Ending or None
        How it ended; None while it goes on.
    missing : str
        Why it can neither go on nor be done again, as a sentence; empty where it can.
    dice : float or None
        Of its mask with the reference, where that is known.
    """

    plan: RunPlan
    result: RunResult
    ending: Ending | None = None
    missing: str = ""
    dice: float | None = None

    @property
    def number(self) -> int:
        """Its place among the session's runs, from 1: the one in the names of its layers."""
        return self.result.number

    @property
    def started(self) -> Started:
        """What it covers, with all its members."""
        return self.result.started

    @property
    def case(self) -> str:
        """The name of its case."""
        return self.plan.case.id

    @property
    def title(self) -> str:
        """The run in a heading, such as `run 2 of case_1`."""
        return self.result.title

    @property
    def layer_prefix(self) -> str:
        """How the names of its layers begin."""
        return self.result.prefix

    @property
    def line(self) -> str:
        """The run in a list: its number, case, time, scope and settings, how it ended, how good it was."""
        request, steps = self.plan.request, self.started.timesteps
        what = f"{request.members} member{'s' if request.members > 1 else ''} x {steps} {self.started.sampler}"
        score = "" if self.dice is None else f"; Dice {self.dice:.2f}"
        scope = scope_words(request.slices, request.window)
        when = "" if (began := begun_at(self.plan.folder)) is None else f"{_clock(began)}, "
        how = f"{when}{scope}, {what}, seed {request.seed}{_ENDINGS[self.ending]}"
        return f"{self.number} {shown_name(self.case)}: {how}{score}"

    @property
    def is_cut_short(self) -> bool:
        """Whether it ended before its last member."""
        return self.ending not in (None, Ending.DONE)

    def take_up(self, plan: RunPlan, started: Started) -> None:
        """Go on with a plan that has more members, or the same."""
        self.plan, self.ending = plan, None
        self.result.extend(started)


def _clock(when: datetime) -> str:
    """The time, and the day where it is not today."""
    return f"{when:%H:%M}" if when.date() == date.today() else f"{when:%d %b %H:%M}"
