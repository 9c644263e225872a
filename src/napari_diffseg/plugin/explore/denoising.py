"""Connects the denoising steps of the slice on the screen: the session records them, layers show them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from napari_diffseg.plugin.explore.navigation import slice_on_screen
from napari_diffseg.plugin.explore.refusal import Refusal
from napari_diffseg.plugin.explore.sample_again import (
    describe_left_out,
    describe_sampled_across,
    members_of_slices,
    record_of,
    why_not,
)
from napari_diffseg.plugin.layers.denoising_layers import DenoisingLayers
from napari_diffseg.plugin.session.task import Phase, Task, Work
from napari_diffseg.plugin.session.tracing_job import trace_job

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_diffseg.plugin.layers.result_layers import ResultLayers
    from napari_diffseg.plugin.layers.result_view import ResultView
    from napari_diffseg.plugin.session.session import Session
    from napari_diffseg.plugin.widgets.denoising_box import DenoisingBox
    from napari_diffseg.segmenting.trajectory import Trajectory


_NO_STEPS: Final = "There are no steps on this slice to record: choose another member."


class Denoising:
    """Records the slice on the screen when asked to, and shows the step and the map that the box chooses.

    Nothing is kept while a run goes on: its noise is a function of seed, member, slice and step, so the way is sampled
    once more, for the slice that somebody wants to see, and ends at the run's own masks.

    Parameters
    ----------
    viewer : ViewerModel or Viewer
        Its slice is recorded, and it gets the layers.
    session : Session
        Does the work, when nothing else is going on.
    results : ResultLayers
        Says which run is on the screen.
    box : DenoisingBox
        Asks, and says what is shown.
    """

    def __init__(self, viewer: ViewerModel, session: Session, results: ResultLayers, box: DenoisingBox) -> None:
        self._viewer, self._session, self._results, self._box = viewer, session, results, box
        self._layers = DenoisingLayers(viewer)
        self._trajectory: Trajectory | None = None
        self._of, self._recording = "", False
        self._refusal = Refusal(viewer, session, withdraw=self._explain)
        box.record_asked.connect(self.record)
        box.changed.connect(self.show)
        session.changed.connect(self.follow)
        session.changed.connect(self._settle)
        session.phase_changed.connect(self.follow)
        session.sampled.connect(self.follow)

    @property
    def trajectory(self) -> Trajectory | None:
        """What was recorded last, of the run on the screen."""
        return self._trajectory

    def follow(self, _event: object = None) -> None:
        """Offer the members that there are; forget what was recorded of a run that is no longer on the screen."""
        view = self._results.view
        self._box.set_members(() if view is None else view.ensemble.begun[: view.first])
        if self._trajectory is not None and (view is None or view.prefix != self._of):
            self._trajectory = None
            self._layers.hide()
            self._box.show_trajectory(None)
            self._box.say("")

    def record(self) -> None:
        """Sample the slice on the screen once more, of the members that are chosen, or say why that cannot be."""
        view = self._results.view
        reason = why_not(self._viewer, self._session, view)
        if reason is not None or view is None:
            self._refuse_at_once(reason or "")
            return
        record, here = record_of(self._session, view), slice_on_screen(self._viewer, view)
        assert record is not None  # why_not has seen to it
        chosen, started = self._chosen(view), view.started
        members = members_of_slices(started, chosen)
        if not members:
            self._refuse_at_once(f"{describe_sampled_across(started, chosen)} {_NO_STEPS}")
            return
        job = trace_job(
            self._session.load_engine,
            record.plan,
            slice_index=here,
            members=members,
            members_across=started.members_across,
        )
        self._box.say(f"Recording slice {here}…")
        self._recording = True
        take = partial(self._take, view.prefix)
        self._session.begin(Task(job, Work.RECORDING, take, refused=self._refuse))

    def _chosen(self, view: ResultView) -> tuple[int, ...]:
        """The members that the box chooses, of those that are shown."""
        return view.ensemble.begun[: view.first] if self._box.member is None else (self._box.member,)

    def _refuse_at_once(self, reason: str) -> None:
        self._box.say(reason)
        self._refusal.stand()

    def hide(self) -> None:
        """Take the maps off the screen."""
        self._layers.hide()

    def close(self) -> None:
        """Leave the viewer alone from now on."""
        self._refusal.close()

    def show(self) -> None:
        """Show the step, the member and the map that the box chooses, of what was recorded."""
        view, found, member = self._results.view, self._trajectory, self._box.member
        if view is None or found is None:
            return
        if member is not None and member not in found.members:
            self._layers.hide()
            across = describe_sampled_across(view.started, (member,))
            self._box.say(
                f"{across} {_NO_STEPS}" if across else f"Member {member + 1} is not recorded: press Record slice."
            )
        elif self._box.decided.isChecked():
            self._layers.show_decided(view, found, member=member)
            of = _whose(found, member)
            words = f"Slice {found.slice_index}, {of}: when each pixel was decided, of {found.steps} steps."
            self._box.say(f"{words} {self._left_out(view, member)}".rstrip())
        else:
            self._layers.show_prediction(view, found, place=self._box.place, member=member)
            words = _describe(found, self._box.place, member=member)
            self._box.say(f"{words} {self._left_out(view, member)}".rstrip())

    def _left_out(self, view: ResultView, member: int | None) -> str:
        """Why a mean is not of all members, as a sentence; empty where it is, or is none."""
        return "" if member is not None else describe_left_out(view.started, self._chosen(view))

    def _refuse(self, reason: str) -> None:
        self._recording = False
        self._box.say(reason)

    def _settle(self) -> None:
        """A recording that was cancelled leaves things as they were."""
        if self._recording and self._session.phase is Phase.IDLE:
            self._recording = False
            self._explain()

    def _explain(self) -> None:
        """Say what is on the canvas, or what can be had."""
        self._box.say("")
        self.show()

    def _take(self, prefix: str, trajectory: Trajectory | None) -> None:
        view, self._recording = self._results.view, False
        if trajectory is None or view is None or view.prefix != prefix:
            return
        self._trajectory, self._of = trajectory, prefix
        self._box.show_trajectory(trajectory)
        self.show()
        self._session.message.emit(f"Slice {trajectory.slice_index} is recorded: move the slider to see its steps.")


def _describe(found: Trajectory, place: int, *, member: int | None) -> str:
    """What is on the canvas, in words."""
    step = f"step {found.kept[place]} of {found.steps} (t = {found.timesteps[place]})"
    words = f"Slice {found.slice_index}, {_whose(found, member)}, {step}: the mask that it predicts."
    if len(found.kept) == found.steps:
        return words
    return f"{words} Of the steps, {len(found.kept)} are kept, to save memory."


def _whose(found: Trajectory, member: int | None) -> str:
    """Of which members something is: the run may have got others since they were recorded."""
    if member is not None or len(found.members) == 1:
        return f"member {(found.members[0] if member is None else member) + 1}"
    return f"mean of {len(found.members)} members"
