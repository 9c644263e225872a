"""The layers of a run: a live preview, the members, the consensus mask, the mean and the uncertainty."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from napari_diffseg.ensemble.ensemble import Ensemble
from napari_diffseg.ensemble.smoothing import Smoothing
from napari_diffseg.ensemble.summary import Rule, Summary, mean_of
from napari_diffseg.plugin.canvas.add_layer import is_there
from napari_diffseg.plugin.canvas.color_bar import show_bar_when_seen
from napari_diffseg.plugin.canvas.painting_aids import build_when_painting
from napari_diffseg.plugin.canvas.result_style import (
    label_colors,
    mean_names,
    mean_style,
    numbered,
    uncertainty_names,
    uncertainty_style,
)
from napari_diffseg.plugin.files.member_planes import note_members
from napari_diffseg.plugin.grid.frame import METADATA_KEY, RESULT_KEY, with_member_axis
from napari_diffseg.plugin.layers.layer_array import LayerArray
from napari_diffseg.plugin.layers.layer_queue import LayerQueue
from napari_diffseg.plugin.layers.live_layer import LiveLayer
from napari_diffseg.plugin.layers.result_view import ResultView
from napari_diffseg.plugin.layers.slice_queue import SliceQueue

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_diffseg.events import Preview, Sampled, Started
    from napari_diffseg.plugin.grid.frame import Frame

MOST_MEMBER_LAYERS: Final = 12
"""With more members than this, they share one layer with a slider, so that the layer list stays readable."""


class ResultLayers:
    """Keeps a viewer's result layers true to a run, slice by slice, member by member.

    The arrays lie in source order and the layers show views of them, so a slice that becomes final is written once,
    where it belongs, and only its layers are redrawn. A layer comes into the viewer once there is something to see in
    it, in a turn of its own: `catch_up` adds the next. One that the user has removed stays removed. Works on a
    ViewerModel without a window.

    Parameters
    ----------
    viewer : ViewerModel or Viewer
        Where the layers go.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self.arriving = LayerQueue(viewer)
        self.live = LiveLayer(viewer, self.arriving)
        self._runs = 0
        self._started: Started | None = None
        self._outlines: list[Layer] = []
        self._summary = Summary()
        self._first: int | None = None
        self._is_decided = False
        self._pending = SliceQueue()
        self._hidden: set[int] = set()
        self._most = MOST_MEMBER_LAYERS
        viewer.dims.events.ndisplay.connect(self._outline)

    def begin(self, started: Started, frame: Frame) -> None:
        """Make the layers of a new run, empty; they come with its first member. Those of the last are hidden."""
        if self._started is not None:
            while self._pending:  # its layers can be brought back
                self._pending.draw(self._write_statistics, 0.0)
            self._let_come()
            self.arriving.forget_held()
            for shown in self._all_shown():
                if shown.layer.visible:  # napari lays out the window anew also for what was hidden before
                    shown.layer.visible = False
        self._runs += 1
        self._started, self._frame = started, frame
        self._prefix = f"diffseg {self._runs}"
        self._ensemble = Ensemble.for_run(started)
        self._ensemble.smoothing = Smoothing.of_run(started, self._summary.smoothing_mm)
        self._members: dict[int, LayerArray] = {}
        self._together: LayerArray | None = None
        self.live.begin(frame, started.slice_axis, self._prefix)
        self._first, self._hidden, self._is_decided = None, set(), False
        labels, shape = started.labels, started.source_shape
        mean, uncertainty = mean_style(), uncertainty_style(self._summary.measure.largest)
        names = uncertainty_names(self._prefix, labels, self._summary.measure)
        self._mean = [self._add_map(name, shape, mean) for name in mean_names(self._prefix, labels)]
        self._uncertainty = [self._add_map(name, shape, uncertainty) for name in names]
        self._mask = self._add_labels("mask", np.zeros(shape, np.uint8), visible=True)
        for shown in self._uncertainty:
            self.arriving.put_bar(shown.layer)
        self._outlines.append(self._mask.layer)
        self._outline()
        if len(started.members) > self._most:
            stack = np.zeros((len(started.members), *shape), np.uint8)
            self._together = self._add_labels("members", stack, visible=False)
            self._note_members()

    def extend(self, started: Started) -> None:
        """Let the run on the screen go on with members that are added to it; all of them are shown again."""
        assert self._started is not None  # only a run that has begun can go on
        before = self._started.members
        self._started = replace(started, members=tuple(sorted({*before, *started.members})))
        self._make_room(before)
        self.summarise(self._summary)

    @property
    def members(self) -> tuple[int, ...]:
        """Numbers of the members that have come, hidden ones too; none before the first run has started."""
        return () if self._started is None else self._ensemble.begun

    @property
    def ensemble(self) -> Ensemble:
        """The ensemble that is shown; `begin` makes it."""
        return self._ensemble

    @property
    def view(self) -> ResultView | None:
        """What is on the screen now, layers that are still to come included; None before the first run has started."""
        if self._started is None:
            return None
        return ResultView(
            prefix=self._prefix,
            started=self._started,
            frame=self._frame,
            ensemble=self._ensemble,
            summary=self._summary,
            first=self._first,
            mean=tuple(shown.layer for shown in self._mean),
            uncertainty=tuple(shown.layer for shown in self._uncertainty),
            mask=self._mask.layer,
            members={k: shown.layer for k, shown in self._members.items()},
            together=None if self._together is None else self._together.layer,
        )

    def show_preview(self, preview: Preview) -> None:
        """Show a slice while it is denoised."""
        if self._started is not None:
            self.live.show(preview)

    def show_sampled(self, events: Iterable[Sampled]) -> None:
        """Add members, on the slices on which they are final, to all maps; layers that are new come in `catch_up`."""
        if self._started is None:
            return
        touched: set[int] = set()
        members: set[int] = set()
        for event in events:
            if event.run_id != self._started.run_id:
                continue
            self._ensemble.add(event.member, event.slices, event.mask)
            touched.update(event.slices)
            self._write_member(event)
            members.add(event.member)
        self._note_members()
        self._sum_up(touched)
        for shown in self._shown(members):
            shown.redraw()
        self._let_come()

    def end(self) -> None:
        """Put the live layer out of sight and draw everything once more, with thumbnails."""
        self.live.end()
        if self._started is None:
            return
        for shown in self._shown(set(self._started.members)):
            shown.layer.refresh()

    def summarise(self, summary: Summary, *, first: int | None = None) -> None:
        """Sum the ensemble up in another way; `catch_up` then draws it, and members to come follow it, too.

        Parameters
        ----------
        summary : Summary
            Rule, threshold, measure and smoothing.
        first : int, optional
            Show only so many members, those with the lowest numbers: the others are hidden and have no vote, but none
            is deleted. All by default.
        """
        old, self._summary, self._first = self._summary, summary, first
        self._is_decided &= summary.rule is Rule.STAPLE
        if self._started is None:
            return
        before, after = (uncertainty_names(self._prefix, self._started.labels, one.measure) for one in (old, summary))
        for shown, was, name in zip(self._uncertainty, before, after, strict=True):
            if shown.layer.name == was:  # a name that the user gave stays
                shown.layer.name = name
            if summary.measure is not old.measure:
                shown.layer.contrast_limits = (0.0, summary.measure.largest)
        self._hide_members()
        self._ensemble.smoothing = Smoothing.of_run(self._started, summary.smoothing_mm)
        self._pending.only(self._started.slices, here=self._slice_on_screen())

    def show_staple(self, mask: npt.NDArray[np.uint8]) -> None:
        """Show what STAPLE made of the members, label numbers (X, Y, Z), until another is shown or the rule changes.

        Until the first, the mask is the majority's: STAPLE takes its time, and needs whole members.
        """
        if self._started is None or self._summary.rule is not Rule.STAPLE:
            return
        self._is_decided = True
        self._mask.array[...] = mask
        if is_there(self._viewer, self._mask.layer):
            self._mask.redraw()

    @property
    def is_behind(self) -> bool:
        """Whether `catch_up` has something to draw."""
        return self.arriving.is_due or bool(self._pending)

    def catch_up(self, seconds: float) -> bool:
        """Add the layer whose turn it is; or draw for about so many seconds what `summarise` asked for.

        That is drawn from the slice on the screen outwards.

        Returns
        -------
        bool
            Whether something is left to draw.
        """
        if self.arriving.is_due:
            self.arriving.add_next()
            return self.is_behind
        if not self._pending:
            return False
        if self._pending.draw(self._write_statistics, seconds):
            for shown in self._shown(set()):
                shown.redraw()
        return bool(self._pending)

    def _sum_up(self, slices: set[int]) -> None:
        """Write what the members say of some slices; where they weigh in on others, only the one on the screen now."""
        if self._ensemble.smoothing.is_none:
            for s in slices:
                self._write_statistics(s)
            return
        touched, here = self._ensemble.within_reach(slices), self._slice_on_screen()
        if here in touched:
            self._write_statistics(here)
        self._pending.add(touched - {here}, here=here)

    def _slice_on_screen(self) -> int:
        assert self._started is not None  # summarise has seen to it
        voxel = self._mask.layer.world_to_data(self._viewer.dims.point[-3:])
        return self._frame.source_index(tuple(voxel), self._started.slice_axis)

    def _hide_members(self) -> None:
        """Take the layers of members that are not asked for out of sight, and bring back those that were in it."""
        asked = set(self._ensemble.begun[: self._first])
        for k, shown in self._members.items():
            if k in asked and k in self._hidden:
                shown.layer.visible = True
                self._hidden.discard(k)
            elif k not in asked and shown.layer.visible:
                shown.layer.visible = False
                self._hidden.add(k)
        if self._together is not None:
            data = self._frame.to_display(self._together.array[: self._first])
            if len(data) != len(self._together.layer.data):
                self._together.layer.data = data
                self._note_members()

    def _make_room(self, before: Sequence[int]) -> None:
        """Bring the members into one layer when there are many; where they share one, it has those of `before`."""
        assert self._started is not None  # extend has seen to it
        members = self._started.members
        if len(members) <= self._most:
            return
        stack = np.zeros((len(members), *self._started.source_shape), np.uint8)
        if self._together is not None:
            stack[[members.index(k) for k in before]] = self._together.array
            self._together.array, self._together.layer.data = stack, self._frame.to_display(stack)
            self._note_members()
            return
        alone, self._members = self._members, {}
        for k, shown in alone.items():
            stack[members.index(k)] = shown.array
            self._remove(shown.layer)
        self._together = self._add_labels("members", stack, visible=False)
        self.arriving.add_now(self._together.layer)
        self._note_members()

    def _note_members(self) -> None:
        if self._together is not None and self._started is not None:
            note_members(self._together.layer, self._started.members, self._ensemble.members)

    def share_layer(self, shared: bool) -> None:
        """Have all members in one layer with a slider, or each in its own unless there are many; all out of sight."""
        self._most = 0 if shared else MOST_MEMBER_LAYERS
        if self._started is None or (self._together is not None) == (len(self._started.members) > self._most):
            return
        if self._together is None:
            self._make_room(self._started.members)
            return
        (stack, layer), self._together = (self._together.array, self._together.layer), None
        self._remove(layer)
        for k in self._ensemble.begun:
            self._member_volume(k)[...] = stack[self._started.members.index(k)]
        self.arriving.release()

    def _remove(self, layer: Layer) -> None:
        self.arriving.drop(layer)
        if is_there(self._viewer, layer):
            self._viewer.layers.remove(layer)

    def _shown(self, members: set[int]) -> list[LayerArray]:
        """The statistics' layers and those of some members, as far as they are in the viewer."""
        shown = [
            *self._mean,
            *self._uncertainty,
            self._mask,
            *(self._members[k] for k in members if k in self._members),
        ]
        if self._together is not None:
            shown.append(self._together)
        return [s for s in shown if is_there(self._viewer, s.layer)]

    def _all_shown(self) -> list[LayerArray]:
        """All of the run's, in the viewer or not."""
        together = [] if self._together is None else [self._together]
        return [*self._mean, *self._uncertainty, self._mask, *self._members.values(), *together]

    def _let_come(self) -> None:
        """Let the layers that wait come, once there is something to see in them."""
        if self.members:
            self.arriving.release()

    def _write_member(self, event: Sampled) -> None:
        assert self._started is not None  # show_sampled has seen to it
        volume = self._member_volume(event.member)
        planes = np.moveaxis(volume, self._started.slice_axis, 0)
        for i, s in enumerate(event.slices):
            planes[s] = numbered(event.mask[:, i])

    def _member_volume(self, member: int) -> npt.NDArray[np.uint8]:
        assert self._started is not None  # show_sampled has seen to it
        if self._together is not None:
            volume: npt.NDArray[np.uint8] = self._together.array[self._started.members.index(member)]
            return volume
        if member not in self._members:
            zeros = np.zeros(self._started.source_shape, np.uint8)
            self._members[member] = self._add_labels(f"member {member + 1}", zeros, visible=False)
        return self._members[member].array

    def _write_statistics(self, s: int) -> None:
        assert self._started is not None  # show_sampled has seen to it
        axis = self._started.slice_axis
        votes, count = self._ensemble.smoothed_slice(s, first=self._first)
        mean, uncertainty = mean_of(votes, count), self._summary.uncertainty(votes, count)
        for c in range(len(self._started.labels)):
            np.moveaxis(self._mean[c].array, axis, 0)[s] = mean[c]
            np.moveaxis(self._uncertainty[c].array, axis, 0)[s] = uncertainty[c]
        if not self._is_decided:
            np.moveaxis(self._mask.array, axis, 0)[s] = numbered(self._summary.by_votes.consensus(votes, count))

    def _add_map(self, name: str, shape: tuple[int, ...], style: dict[str, Any]) -> LayerArray:
        array = np.zeros(shape, np.float32)
        layer = self._add(self._frame.to_display(array), "image", {**style, "name": name})
        if not layer.visible:
            show_bar_when_seen(layer)
        return LayerArray(array, layer)

    def _add_labels(self, name: str, array: npt.NDArray[np.uint8], *, visible: bool) -> LayerArray:
        style = {"name": f"{self._prefix} | {name}", "visible": visible, "colormap": label_colors()}
        layer = self._add(self._frame.to_display(array), "labels", style)
        build_when_painting(layer)
        return LayerArray(array, layer)

    def _add(self, data: npt.NDArray[Any], kind: str, style: dict[str, Any]) -> Layer:
        from napari.layers import Layer

        attributes = self._attributes()
        if data.ndim == 4:
            attributes = with_member_axis(attributes)
        layer = Layer.create(data, attributes | style, kind)
        self.arriving.put(layer)
        return layer

    def _attributes(self) -> dict[str, Any]:
        attributes = self._frame.layer_attributes()
        attributes["metadata"] = {METADATA_KEY: self._frame, RESULT_KEY: self._prefix}
        return attributes

    def _outline(self, _event: object = None) -> None:
        """Draw masks as outlines in 2-D, so that the image stays in sight, and filled in 3-D, where napari has none.

        napari's own callbacks come first, so it says once that there are no outlines in 3-D.
        """
        for layer in self._outlines:
            layer.contour = 0 if self._viewer.dims.ndisplay == 3 else 1
