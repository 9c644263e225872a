"""The results in a viewer: the layers of the run on the screen, and of those that were before it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, ClassVar, Final

from psygnal import Signal

from napari_diffseg.ensemble.summary import Summary
from napari_diffseg.events import Refined
from napari_diffseg.plugin.layers.layer_queue import LayerQueue
from napari_diffseg.plugin.layers.live_layer import LiveLayer
from napari_diffseg.plugin.layers.run_layers import RunLayers

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt
    from napari.components import ViewerModel

    from napari_diffseg.events import Expected, Sampled, Stepped
    from napari_diffseg.plugin.layers.result_view import ResultView
    from napari_diffseg.plugin.session.run_result import RunResult

MOST_MEMBER_LAYERS: Final = 12
"""With more members than this, they share one layer with a slider, so that the layer list stays readable."""


class ResultLayers:
    """Draws the run that is on the screen, and keeps the layers of the others away until their run is shown again.

    It owns layers alone: ensembles belong to the session, which adds to them before it tells. A layer comes into the
    viewer in a turn of its own: `catch_up` adds the next. Works on a ViewerModel without a window.

    Parameters
    ----------
    viewer : ViewerModel or Viewer
        Where the layers go.
    """

    edited: ClassVar[Signal] = Signal(object, object)
    """The RunResult and the EditedLayer of a correction: somebody has painted in a mask, or it was brought back."""
    behind: ClassVar[Signal] = Signal()
    """There is something to draw that nobody asked for: `catch_up` draws it."""

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self.arriving = LayerQueue(viewer)
        self.live = LiveLayer(viewer, self.arriving)
        self._runs: dict[str, RunLayers] = {}
        self._present: RunLayers | None = None
        self._summary = Summary()
        self._most = MOST_MEMBER_LAYERS
        viewer.dims.events.ndisplay.connect(self._outline)

    def show(self, result: RunResult | None) -> None:
        """Show a run instead of the one before, whose layers are put away; None leaves no result on the screen.

        The layers of a run that is new come, empty, with its first member.
        """
        if self._present is not None:
            self._present.put_away()
            self.live.end()
        self._present = None
        if result is None:
            self.arriving.release()
            return
        known = self._runs.get(result.prefix)
        if known is not None and (known.is_away or known.is_in_viewer):
            known.bring_back(self._summary, most=self._most)
            self._present = known
        else:
            known = RunLayers(self._viewer, result, self.arriving, summary=self._summary, most=self._most)
            known.edited.connect(partial(self.edited.emit, result))
            known.behind.connect(self.behind.emit)
            self._present = self._runs[result.prefix] = known
            known.draw_all()
        self._present = known
        self.live.begin(result.frame, result.started.slice_axis, result.prefix)

    def extend(self, result: RunResult) -> None:
        """A run goes on with members that were added to it."""
        self._runs[result.prefix].extend()

    def tell_edits(self) -> None:
        """Tell of the corrections of all runs once more, for somebody who listens only now."""
        for run in self._runs.values():
            run.tell_edits()

    def forget(self, prefix: str) -> None:
        """A run is gone for good: none of its layers comes any more. Those in the viewer are left to others."""
        self.arriving.drop_run(prefix)
        gone = self._runs.pop(prefix, None)
        if gone is not None and gone is self._present:
            self.live.end()
            self._present = None

    @property
    def result(self) -> RunResult | None:
        """The run that is on the screen."""
        return None if self._present is None else self._present.result

    @property
    def members(self) -> tuple[int, ...]:
        """Numbers of the members that have come of the run on the screen, hidden ones too."""
        return () if self._present is None else self._present.result.ensemble.begun

    @property
    def unsampled(self) -> str:
        """What of the run on the screen was not sampled, in words; empty where nothing is left."""
        return "" if self._present is None else self._present.unsampled.words

    @property
    def is_in_viewer(self) -> bool:
        """Whether the viewer has a layer of the run on the screen, or will have."""
        return self._present is not None and self._present.is_in_viewer

    @property
    def view(self) -> ResultView | None:
        """What is on the screen now, layers that are still to come included; None while no run is."""
        return None if self._present is None else self._present.view

    def show_preview(self, step: Stepped) -> None:
        """Show a slice while it is denoised, of the run on the screen."""
        if self._present is not None and self._present.result.is_of(step) and step.preview is not None:
            self._present.go_to(step.preview.slice_index)
            self.live.show(step.preview)

    def end_preview(self, step: Stepped) -> None:
        """No slice of the run on the screen is seen while it is denoised, until the next preview comes."""
        if self._present is not None and self._present.result.is_of(step):
            self._present.go_to(None)
            self.live.rest()

    def show_sampled(self, events: Sequence[Sampled]) -> None:
        """Draw what ensembles have got, also those that are not on the screen; new layers come in `catch_up`."""
        for run in self._runs.values():
            if own := [event for event in events if run.result.is_of(event)]:
                run.show_sampled(own)

    def show_expected(self, event: Expected | Refined) -> None:
        """Draw what ensembles have got of the one-step estimate, or, as it was refined, what is made of it."""
        for run in self._runs.values():
            if run.result.is_of(event):
                if isinstance(event, Refined):
                    run.show_refined()
                else:
                    run.show_expected(event.slices)

    def leave(self) -> None:
        """Nobody listens any more, and nobody is there to catch up; what is in the viewer stays."""
        self.edited.disconnect()
        self.behind.disconnect()
        self.arriving.end_leaving()
        self.live.end()

    def end(self) -> None:
        """A run has ended: hide the live layer and draw everything once more, with thumbnails."""
        self.live.end()
        if self._present is not None:
            self._present.go_to(None)
            self._present.redraw_all()

    def summarise(self, summary: Summary, *, first: int | None = None) -> None:
        """Sum the run on the screen up in another way, see `RunLayers.summarise`; and those that come later."""
        self._summary = summary
        if self._present is not None:
            self._present.summarise(summary, first=first)

    def show_staple(self, mask: npt.NDArray[np.uint8]) -> None:
        """Show what STAPLE made of the members of the run on the screen, see `RunLayers.show_staple`."""
        if self._present is not None:
            self._present.show_staple(mask)

    def choose_region(self, region: int | None) -> None:
        """Measure one mask channel of the run on the screen, and show its maps; None is all regions together."""
        if self._present is not None:
            self._present.choose_region(region)

    def choose_mask(self, number: int | None) -> None:
        """Measure a correction of the run on the screen, by its number, or the mask that the rule makes."""
        if self._present is not None:
            self._present.choose_mask(number)

    def share_layer(self, shared: bool) -> None:
        """Have all members in one layer with a slider, or each in its own unless there are many; all out of sight."""
        self._most = 0 if shared else MOST_MEMBER_LAYERS
        if self._present is not None:
            self._present.share_layer(self._most)

    @property
    def is_behind(self) -> bool:
        """Whether `catch_up` has something to draw."""
        return self.arriving.is_due or any(run.is_behind for run in self._runs.values())

    def catch_up(self, seconds: float) -> bool:
        """Add the layer whose turn it is; or draw for about so many seconds what was put off.

        Returns
        -------
        bool
            Whether something is left to draw.
        """
        if self.arriving.is_due:
            self.arriving.add_next()
        elif behind := [run for run in self._runs.values() if run.is_behind]:
            (self._present if self._present in behind else behind[0]).draw_pending(seconds)
        return self.is_behind

    def _outline(self, _event: object = None) -> None:
        """Napari's own callbacks come first, so it says once that there are no outlines in 3-D."""
        for run in self._runs.values():
            run.outline()
