"""Whether a slice of the run on the screen can be sampled once more, with the run's own noise."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_diffseg.plugin.explore.navigation import slice_on_screen

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_diffseg.plugin.layers.result_view import ResultView
    from napari_diffseg.plugin.session.run_entry import RunEntry
    from napari_diffseg.plugin.session.session import Session


def record_of(session: Session, view: ResultView) -> RunEntry | None:
    """The record of the run on the screen; None once it is taken from the list."""
    return next((r for r in session.runs.records if r.layer_prefix == view.prefix), None)


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
