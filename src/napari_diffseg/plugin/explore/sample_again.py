"""Whether a slice of the run on the screen can be sampled once more, with the run's own noise."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_diffseg.events import name_members
from napari_diffseg.plugin.explore.navigation import slice_on_screen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.components import ViewerModel

    from napari_diffseg.events import Started
    from napari_diffseg.plugin.layers.result_view import ResultView
    from napari_diffseg.plugin.session.run_entry import RunEntry
    from napari_diffseg.plugin.session.session import Session


def record_of(session: Session, view: ResultView) -> RunEntry | None:
    """The record of the run on the screen; None once it is taken from the list."""
    return next((r for r in session.runs.records if r.layer_prefix == view.prefix), None)


def members_of_slices(started: Started, members: Sequence[int]) -> tuple[int, ...]:
    """Those of some members that were sampled slice by slice in the plane on the screen, and so can be again."""
    return tuple(k for k in members if k not in started.members_across)


def describe_sampled_across(started: Started, members: Sequence[int]) -> str:
    """Which of some members were sampled in slices of another plane, as a sentence; empty where none was."""
    across = [k for k in members if k in started.members_across]
    if not across:
        return ""
    return f"{name_members(across)} {'was' if len(across) == 1 else 'were'} sampled in {started.plane_across} slices."


def describe_left_out(started: Started, members: Sequence[int]) -> str:
    """Which of some members an answer of one slice is without, as a sentence; empty where it is of all."""
    words = describe_sampled_across(started, members)
    return f"Left out: {words[0].lower()}{words[1:]}" if words else ""


def why_not(viewer: ViewerModel, session: Session, view: ResultView | None) -> str | None:
    """The reason why the slice on the screen cannot be sampled once more now, as a sentence; None when it can."""
    if view is None or not view.ensemble.begun:
        return "Run first."
    if (busy := session.why_no_sampling()) is not None:
        return busy
    record = record_of(session, view)
    if record is None:
        return "The run on screen is no longer in the list of runs: run again."
    if slice_on_screen(viewer, view) not in view.started.sampled:
        return "Nothing is sampled on this slice: it holds no brain, or was not asked for."
    return record.missing or None
