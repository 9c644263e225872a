"""Makes the mask by STAPLE in another thread, whenever that is the rule; no widget, so a test can drive it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt
from psygnal import Signal

from napari_diffseg.ensemble.consensus import staple
from napari_diffseg.ensemble.summary import Rule
from napari_diffseg.plugin.background.latest_only import LatestOnly, job_of, raise_if
from napari_diffseg.regions import number_channels

if TYPE_CHECKING:
    import threading
    from collections.abc import Sequence

    from napari_diffseg.ensemble.consensus import Staple
    from napari_diffseg.ensemble.whole_members import WholeMembers
    from napari_diffseg.plugin.background.latest_only import Launcher
    from napari_diffseg.plugin.layers.result_layers import ResultLayers
    from napari_diffseg.regions import Region

WAITING = "The majority, until STAPLE has a whole member."


@dataclass(frozen=True, eq=False)
class _Made:
    """A mask as label numbers, (X, Y, Z), what is to be said of it, and the run that it is of."""

    mask: npt.NDArray[np.uint8]
    words: str
    prefix: str


class Stapling:
    """Keeps the mask of the result on the screen true to its whole members while STAPLE is the rule.

    Parameters
    ----------
    results : ResultLayers
        Whose mask it is.
    launch : callable (target, stop)
        Runs `target()`, which never raises, in another thread.
    """

    told: ClassVar[Signal] = Signal(str)
    """What there is to say of the rule, empty for the other rules."""

    def __init__(self, results: ResultLayers, *, launch: Launcher) -> None:
        self._results = results
        self.latest = LatestOnly(launch=launch)
        """What is being worked out; who listens polls it."""
        self.latest.answered.connect(self._show)
        self.latest.failed.connect(self.told.emit)

    @property
    def is_busy(self) -> bool:
        """Whether `poll` has to be called again."""
        return self.latest.is_busy

    def ask(self, *, at_once: bool = True) -> None:
        """Make the mask of the whole members as they are now."""
        view = self._results.view
        if view is None or view.summary.rule is not Rule.STAPLE:
            self.forget()
            return
        members = view.ensemble.whole_members(first=view.first)
        if not members.members:
            self.latest.forget()
            self.told.emit(WAITING)
            return
        self.latest.ask(job_of(partial(_make, members, view.prefix, view.started.regions)), at_once=at_once)

    def forget(self) -> None:
        """Nobody wants the mask any more."""
        self.latest.forget()
        self.told.emit("")

    def poll(self) -> None:
        """Take the mask in when it is there."""
        self.latest.poll()

    def close(self) -> None:
        """End for good: nothing more is heard."""
        self.latest.forget()

    def _show(self, made: _Made) -> None:
        view = self._results.view
        if view is not None and view.prefix == made.prefix and view.summary.rule is Rule.STAPLE:
            self._results.show_staple(made.mask)
            self.told.emit(made.words)


def _make(members: WholeMembers, prefix: str, regions: Sequence[Region], stop: threading.Event) -> _Made:
    members = replace(members, before_read=partial(raise_if, stop))
    first, *others = members.members
    votes = members.member(first).astype(np.uint16)
    for k in others:
        votes += members.member(k)
    found = staple((members.member(k) for k in members.members), votes)
    raise_if(stop)
    mask = number_channels(np.stack([one.mask for one in found]), regions)
    return _Made(mask, _describe(found, len(members.members)), prefix)


def _describe(found: tuple[Staple, ...], count: int) -> str:
    """How the members did against what STAPLE takes for the truth, all labels together."""
    sensitivity = [value for one in found for value in one.sensitivity]
    specificity = [value for one in found for value in one.specificity]
    return (
        f"STAPLE of {count} {'member' if count == 1 else 'members'}: sensitivity {_range(sensitivity)}, "
        f"specificity {_range(specificity)}."
    )


def _range(values: list[float]) -> str:
    low, high = f"{min(values):.2f}", f"{max(values):.2f}"
    return low if low == high else f"{low} to {high}"
