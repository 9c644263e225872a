"""One run of a session: what it was made of, and how it stands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_diffseg.plugin.background.mailbox import Ending

if TYPE_CHECKING:
    from napari_diffseg.events import Started
    from napari_diffseg.plugin.session.run_plan import RunPlan

_ENDINGS = {None: "; going on", Ending.DONE: "", Ending.CANCELLED: "; stopped", Ending.FAILED: "; failed"}


@dataclass(eq=False)
class RunEntry:
    """A run that has started; members can be added to it.

    Attributes
    ----------
    number : int
        Its place among the session's runs, from 1: the one in the names of its layers.
    plan : RunPlan
        What it is made of; after an extension, with all its members.
    started : Started
        How it was begun, or taken up the last time.
    ending : Ending or None
        How it ended; None while it goes on.
    missing : str
        Why it can neither go on nor be done again, as a sentence; empty where it can.
    dice : float or None
        Of its mask with the reference, where that is known.
    """

    number: int
    plan: RunPlan
    started: Started
    ending: Ending | None = None
    missing: str = ""
    dice: float | None = None

    @property
    def layer_prefix(self) -> str:
        """How the names of its layers begin."""
        return f"diffseg {self.number}"

    @property
    def line(self) -> str:
        """The run in a list: its number, its settings, how it ended, how good it was."""
        members, steps = self.plan.request.members, self.started.timesteps
        what = f"{members} member{'s' if members > 1 else ''} x {steps} {self.started.sampler}"
        score = "" if self.dice is None else f"; Dice {self.dice:.2f}"
        return f"{self.number}: {what}, seed {self.plan.request.seed}{_ENDINGS[self.ending]}{score}"

    @property
    def is_cut_short(self) -> bool:
        """Whether it ended before its last member."""
        return self.ending not in (None, Ending.DONE)

    def take_up(self, plan: RunPlan, started: Started) -> None:
        """Go on with a plan that has more members, or the same."""
        self.plan, self.started, self.ending = plan, started, None
