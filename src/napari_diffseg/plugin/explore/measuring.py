"""Measures the ensemble on the screen in another thread; no widget, so a test can drive it."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from psygnal import Signal

from napari_diffseg.plugin.background.latest_only import LatestOnly, job_of, raise_if

if TYPE_CHECKING:
    import threading

    import numpy as np
    import numpy.typing as npt

    from napari_diffseg.ensemble.findings import EditedFindings, Findings
    from napari_diffseg.ensemble.whole_members import WholeMembers
    from napari_diffseg.plugin.background.latest_only import Launcher
    from napari_diffseg.plugin.layers.result_view import ResultView


class Measuring:
    """The findings of what is on the screen, as soon as they are known.

    Parameters
    ----------
    launch : callable (target, stop)
        Runs `target()`, which never raises, in another thread.
    """

    measured: ClassVar[Signal] = Signal(object)
    """The Findings; None when there is nothing to measure any more."""
    edited_measured: ClassVar[Signal] = Signal(object)
    """The EditedFindings of the correction that is chosen; None where the rule's mask is."""
    failed: ClassVar[Signal] = Signal(str)
    """The sentence of an error."""

    def __init__(self, *, launch: Launcher) -> None:
        self.latest = LatestOnly(launch=launch)
        """What is being worked out; who listens polls it."""
        self.latest.answered.connect(lambda found: self._take(*found))
        self.latest.failed.connect(self.failed.emit)
        self._findings: Findings | None = None

    @property
    def findings(self) -> Findings | None:
        """What was measured last; None before, and after a new run has begun."""
        return self._findings

    @property
    def is_busy(self) -> bool:
        """Whether `poll` has to be called again."""
        return self.latest.is_busy

    def ask(self, view: ResultView | None, *, at_once: bool = True) -> None:
        """Measure the whole members of a result as they are now; without any, forget what was measured.

        Parameters
        ----------
        view : ResultView or None
            What is on the screen.
        at_once : bool
            Whether to begin even if the last measurement was only just now; False while a run goes on.
        """
        members = view.whole_members() if view is not None else None
        if view is None or members is None or not members.members:
            self.forget()
            return
        self.latest.ask(job_of(partial(_measure, members, view.voxel_mm3, view.corrected())), at_once=at_once)

    def forget(self) -> None:
        """What was measured, or is being measured, is of a result that is no longer on the screen."""
        self.latest.forget()
        if self._findings is not None:
            self._take(None, None)

    def poll(self) -> None:
        """Take the findings in when they are there."""
        self.latest.poll()

    def close(self) -> None:
        """End for good: nothing more is heard."""
        self.latest.forget()

    def _take(self, findings: Findings | None, edited: EditedFindings | None) -> None:
        self._findings = findings
        self.measured.emit(findings)
        self.edited_measured.emit(edited)


def _measure(
    members: WholeMembers, voxel_mm3: float, edited: npt.NDArray[np.bool_] | None, stop: threading.Event
) -> tuple[Findings, EditedFindings | None]:
    """Measure, but stop before the next member when asked to."""
    from napari_diffseg.ensemble.findings import measure, measure_edited

    watched = replace(members, before_read=partial(raise_if, stop))
    found = measure(watched, voxel_mm3=voxel_mm3)
    return found, None if edited is None else measure_edited(edited, watched, voxel_mm3=voxel_mm3)
