"""The layers of one run: members, mask, mean, uncertainty, smoothed probability and the one-step estimate's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np
import numpy.typing as npt
from psygnal import Signal

from napari_diffseg.appearance import EDITED_COLOR
from napari_diffseg.ensemble.smoothing import Smoothing
from napari_diffseg.ensemble.summary import Rule, mean_of
from napari_diffseg.plugin.canvas.add_layer import is_there
from napari_diffseg.plugin.canvas.color_bar import show_bar_when_seen
from napari_diffseg.plugin.canvas.painting_aids import build_when_painting
from napari_diffseg.plugin.canvas.result_style import (
    label_colors,
    mean_names,
    mean_style,
    probability_names,
    uncertainty_names,
    uncertainty_style,
)
from napari_diffseg.plugin.files.member_planes import note_members
from napari_diffseg.plugin.grid.frame import METADATA_KEY, RESULT_KEY, with_member_axis
from napari_diffseg.plugin.layers.edited_layer import EditedLayer
from napari_diffseg.plugin.layers.layer_array import LayerArray
from napari_diffseg.plugin.layers.mask_layer import MaskLayer
from napari_diffseg.plugin.layers.result_view import ResultView
from napari_diffseg.plugin.layers.slice_queue import SliceQueue
from napari_diffseg.plugin.layers.unsampled_layer import Unsampled, unsampled_style
from napari_diffseg.regions import number_channels

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_diffseg.ensemble.summary import Summary
    from napari_diffseg.events import Sampled, Started
    from napari_diffseg.plugin.layers.edited_layer import Mask
    from napari_diffseg.plugin.layers.layer_queue import LayerQueue
    from napari_diffseg.plugin.session.run_result import RunResult

_LARGEST_OF_A_COIN: Final = 0.25
"""The largest p (1 - p)."""


class RunLayers:
    """Keeps the layers of one run true to its ensemble, slice by slice, member by member.

    The arrays lie in source order and the layers show views of them, so a slice that becomes final is written once,
    where it belongs, and only its layers are redrawn. A layer comes into the viewer once there is something to see in
    it, in a turn of its own. One that the user has removed stays removed.

    Parameters
    ----------
    viewer : ViewerModel or Viewer
        Where the layers go.
    result : RunResult
        The run's ensemble, which others add to.
    arriving : LayerQueue
        Brings the layers there, once a member has begun.
    summary : Summary
        How the members are summed up.
    most : int
        With more members than this they share one layer with a slider.
    """

    edited: ClassVar[Signal] = Signal(object)
    """An EditedLayer: somebody has painted in the mask."""
    behind: ClassVar[Signal] = Signal()
    """There is something to draw that nobody asked for."""

    def __init__(
        self, viewer: ViewerModel, result: RunResult, arriving: LayerQueue, *, summary: Summary, most: int
    ) -> None:
        self.result = result
        self._edited: list[EditedLayer] = []
        self._measured: EditedLayer | None = None
        self._staple: Mask | None = None
        self._viewer, self._arriving = viewer, arriving
        self._frame, self._ensemble, self._prefix = result.frame, result.ensemble, result.prefix
        self._summary, self._most = summary, most
        self._ensemble.smoothing = Smoothing.of_run(result.started, summary.smoothing_mm, refined=summary.refined)
        self._first: int | None = None
        self._region: int | None = None
        self._pending = SliceQueue()
        self._hidden: set[int] = set()
        self._put_away: list[tuple[Layer, bool]] = []
        self._is_away = False
        self._members: dict[int, LayerArray] = {}
        self._together: LayerArray | None = None
        self._expected: list[Layer] = []
        labels, shape = self._started.labels, self._started.source_shape
        mean, uncertainty = mean_style(), uncertainty_style(summary.measure.largest)
        names = uncertainty_names(self._prefix, labels, summary.measure)
        self._mean = [self._add_map(name, shape, mean) for name in mean_names(self._prefix, labels)]
        self._probability: list[LayerArray] = []
        self._make_probability()
        self._uncertainty = [self._add_map(name, shape, uncertainty) for name in names]
        self._mask = self._add_mask(visible=True)
        self._show_maps()
        for shown in self._uncertainty:
            self._arriving.put_bar(shown.layer)
        self.outline()
        self._make_unsampled()
        if len(self._started.members) > self._most:
            stack = np.zeros((len(self._started.members), *shape), np.uint8)
            self._together = self._add_labels("members", stack, visible=False)
            self._note_members()

    @property
    def _started(self) -> Started:
        return self.result.started

    @property
    def view(self) -> ResultView:
        """What of the run is on the screen now, layers that are still to come included."""
        return ResultView(
            prefix=self._prefix,
            started=self._started,
            frame=self._frame,
            ensemble=self._ensemble,
            summary=self._summary.of_run(self._started),
            first=self._first,
            region=self._region,
            mean=tuple(shown.layer for shown in self._mean),
            uncertainty=tuple(shown.layer for shown in self._uncertainty),
            probability=tuple(shown.layer for shown in self._probability),
            mask=self._mask.layer,
            edited=self.edits,
            measured=self._measured if self._measured in self.edits else None,
            members={k: shown.layer for k, shown in self._members.items()},
            together=None if self._together is None else self._together.layer,
        )

    def choose_region(self, region: int | None) -> None:
        """Show the maps of one mask channel alone; None is all regions together."""
        self._region = region
        self._show_maps()

    def _show_maps(self) -> None:
        """Of maps that are in sight, show those of the region that is chosen; of all together, the outermost one's."""
        regions = self._started.regions
        if len(regions) == 1:
            return
        wanted = self.view.maps_of
        for layers in (
            [shown.layer for shown in self._mean],
            [shown.layer for shown in self._uncertainty],
            [shown.layer for shown in self._probability],
            self._expected,
        ):
            if any(layer.visible for layer in layers):
                for c, layer in enumerate(layers):
                    layer.visible = c in wanted

    def _numbered(self, masks: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
        return number_channels(masks, self._started.regions)

    @property
    def is_in_viewer(self) -> bool:
        """Whether any of its layers is in the viewer, or on its way there."""
        layers = self._all_layers()
        return any(is_there(self._viewer, layer) or self._arriving.awaits(layer) for layer in layers)

    def _all_layers(self) -> list[Layer]:
        own = [*(shown.layer for shown in self._all_shown()), self._hatching.layer]
        return [*own, *self._expected, *(edited.layer for edited in self._edited)]

    @property
    def is_behind(self) -> bool:
        """Whether `draw_pending` has something to draw."""
        return bool(self._pending)

    @property
    def is_away(self) -> bool:
        """Whether it is off the screen, with layers that `bring_back` shows again."""
        return self._is_away and bool(self._put_away)

    def put_away(self) -> None:
        """Take the run off the screen: its layers leave the viewer, with the next that come, until `bring_back`.

        What is in sight is hidden at once. A mask that was edited stays in the viewer, hidden: it is the user's.
        """
        here = [layer for layer in self._all_layers() if self._arriving.awaits(layer) or is_there(self._viewer, layer)]
        self._put_away, self._is_away = [(layer, layer.visible) for layer in here], True
        edited = [one.layer for one in self._edited]
        for layer in here:
            self._arriving.drop(layer)
            if layer.visible:  # napari lays out the window anew also for what was hidden before
                layer.visible = False
            if layer not in edited and is_there(self._viewer, layer):
                self._arriving.put_out(layer)

    def bring_back(self, summary: Summary, *, most: int) -> None:
        """Show the run again as it was left, summed up as is chosen now."""
        back, self._put_away, self._is_away = self._put_away, [], False
        for layer, visible in back:
            self._arriving.drop(layer)
            layer.visible = visible
            if not is_there(self._viewer, layer):
                self._arriving.put(layer)
        for shown in self._uncertainty:
            if not shown.layer.colorbar.visible:
                self._arriving.put_bar(shown.layer)
        self._let_come()
        self.share_layer(most)
        self.summarise(summary)

    def extend(self) -> None:
        """The run goes on with members that were added to it; all of them are shown again."""
        self._make_room()
        self.summarise(self._summary)

    def show_sampled(self, events: Sequence[Sampled]) -> None:
        """Draw members that the ensemble has got, on the slices on which they are final, and all maps."""
        touched = {s for event in events for s in event.slices}
        members = {event.member for event in events}
        for event in events:
            self._write_member(event)
        self._note_members()
        self._sum_up(touched)
        for shown in self._shown(members):
            shown.redraw()
        if self.unsampled.clear(touched):
            self._show_unsampled()
        self._let_come()

    def _make_unsampled(self) -> None:
        self.unsampled = Unsampled(self._started, self._ensemble)
        style = unsampled_style(f"{self._prefix} | not sampled")
        layer = self._add(self._frame.to_display(self.unsampled.array), "image", style)
        self._hatching = LayerArray(self.unsampled.array, layer)
        self._show_unsampled()

    def _show_unsampled(self) -> None:
        """Draw what is not sampled; once there is nothing, the layer goes."""
        layer = self._hatching.layer
        if self.unsampled.is_empty:
            self._arriving.drop(layer)
            if is_there(self._viewer, layer):
                self._arriving.put_out(layer)
        elif is_there(self._viewer, layer):
            self._hatching.redraw()

    def go_to(self, slice_index: int | None) -> None:
        """The live view shows a slice, or nothing more: what is seen in it is not hatched over."""
        if self.unsampled.go_to(slice_index):
            self._show_unsampled()

    def draw_all(self) -> None:
        """Draw what the ensemble has got before these layers were made."""
        for k in self._ensemble.begun:
            self._member_volume(k)[...] = self._numbered(self._ensemble.member(k))
        self._note_members()
        self.show_expected(self._started.sampled)
        self._add_kept_edits()
        if self._ensemble.begun:
            self._pending.only(self._started.slices, here=self._slice_on_screen())
        self._let_come()

    def redraw_all(self) -> None:
        """Draw everything once more, with thumbnails."""
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
        if summary.rule is not Rule.STAPLE:
            self._staple = None
        before, after = (uncertainty_names(self._prefix, self._started.labels, one.measure) for one in (old, summary))
        for shown, was, name in zip(self._uncertainty, before, after, strict=True):
            if shown.layer.name == was:  # a name that the user gave stays
                shown.layer.name = name
            if summary.measure is not old.measure:
                shown.layer.contrast_limits = (0.0, summary.measure.largest)
        self._hide_members()
        self._ensemble.smoothing = Smoothing.of_run(self._started, summary.smoothing_mm, refined=summary.refined)
        self._make_probability()
        self._let_come()
        self._pending.only(self._started.slices, here=self._slice_on_screen())

    def show_staple(self, mask: npt.NDArray[np.uint8]) -> None:
        """Show what STAPLE made of the members, label numbers (X, Y, Z), until another is shown or the rule changes.

        Until the first, the mask is the majority's: STAPLE takes its time, and needs whole members.
        """
        if self._summary.rule is not Rule.STAPLE:
            return
        self._staple = mask
        self._write_staple()

    def _write_staple(self) -> None:
        if self._staple is None or self._mask.is_held:
            return
        self._mask.array[...] = self._staple
        if is_there(self._viewer, self._mask.layer):
            self._mask.redraw()

    def draw_pending(self, seconds: float) -> None:
        """Draw for about so many seconds what `summarise` asked for, from the slice on the screen outwards."""
        if self._pending and self._pending.draw(self._write_statistics, seconds):
            for shown in self._shown(set()):
                shown.redraw()

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

    def _make_room(self) -> None:
        """Bring the members into one layer when there are many; of those that share one already, nothing is lost."""
        members = self._started.members
        if len(members) <= self._most:
            return
        stack = np.zeros((len(members), *self._started.source_shape), np.uint8)
        if self._together is not None:
            for k in self._ensemble.begun:
                stack[members.index(k)] = self._numbered(self._ensemble.member(k))
            self._together.array, self._together.layer.data = stack, self._frame.to_display(stack)
            self._note_members()
            return
        alone, self._members = self._members, {}
        for k, shown in alone.items():
            stack[members.index(k)] = shown.array
            self._remove(shown.layer)
        self._together = self._add_labels("members", stack, visible=False)
        self._arriving.add_now(self._together.layer)
        self._note_members()

    def _note_members(self) -> None:
        if self._together is not None:
            note_members(self._together.layer, self._started.members, self._ensemble.members)

    def share_layer(self, most: int) -> None:
        """Have all members in one layer with a slider where there are more than `most`, else each in its own."""
        self._most = most
        if (self._together is not None) == (len(self._started.members) > self._most):
            return
        if self._together is None:
            self._make_room()
            return
        (stack, layer), self._together = (self._together.array, self._together.layer), None
        self._remove(layer)
        for k in self._ensemble.begun:
            self._member_volume(k)[...] = stack[self._started.members.index(k)]
        self._arriving.release()

    def _remove(self, layer: Layer) -> None:
        self._arriving.drop(layer)
        if is_there(self._viewer, layer):
            self._viewer.layers.remove(layer)

    def _shown(self, members: set[int]) -> list[LayerArray]:
        """The statistics' layers and those of some members, as far as they are in the viewer."""
        shown = [
            *self._mean,
            *self._probability,
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
        maps = [*self._mean, *self._probability, *self._uncertainty]
        return [*maps, self._mask, *(self._members[k] for k in sorted(self._members)), *together]

    def _let_come(self) -> None:
        """Let the layers that wait come, once there is something to see in them."""
        if self._ensemble.begun and not self._is_away:
            self._arriving.release()

    def _write_member(self, event: Sampled) -> None:
        volume = self._member_volume(event.member)
        planes = np.moveaxis(volume, self._started.slice_axis, 0)
        for i, s in enumerate(event.slices):
            planes[s] = self._numbered(event.mask[:, i])

    def _member_volume(self, member: int) -> npt.NDArray[np.uint8]:
        if self._together is not None:
            volume: npt.NDArray[np.uint8] = self._together.array[self._started.members.index(member)]
            return volume
        if member not in self._members:
            zeros = np.zeros(self._started.source_shape, np.uint8)
            later = [shown.layer for k, shown in self._members.items() if k > member]
            self._members[member] = self._add_labels(f"member {member + 1}", zeros, visible=False, below=later)
        return self._members[member].array

    def _write_statistics(self, s: int) -> None:
        axis = self._started.slice_axis
        summary = self._summary.of_run(self._started)
        votes, count = self._ensemble.votes_slice(s, first=self._first)
        probability = self._ensemble.probability_slice(s, first=self._first)[0] if self._probability else None
        mean, uncertainty = mean_of(votes, count), summary.uncertainty(votes, count, probability)
        for c in range(len(self._started.labels)):
            np.moveaxis(self._mean[c].array, axis, 0)[s] = mean[c]
            np.moveaxis(self._uncertainty[c].array, axis, 0)[s] = uncertainty[c]
            if probability is not None:
                np.moveaxis(self._probability[c].array, axis, 0)[s] = probability[c]
        if self._staple is None and not self._mask.is_held:
            np.moveaxis(self._mask.array, axis, 0)[s] = self._numbered(
                summary.by_votes.consensus(votes, count, probability)
            )

    def _make_probability(self) -> None:
        """Layers of the smoothed probability, once there is smoothing; they come with the others."""
        if self._probability or self._ensemble.smoothing.is_none:
            return
        names, shape = probability_names(self._prefix, self._started.labels), self._started.source_shape
        self._probability = [self._add_map(name, shape, mean_style()) for name in names]

    def _add_mask(self, *, visible: bool) -> MaskLayer:
        plain = self._add_labels("mask", np.zeros(self._started.source_shape, np.uint8), visible=visible)
        return MaskLayer(plain.array, plain.layer, self._frame, self._take_edit, self._draw_mask)

    def _draw_mask(self) -> None:
        """Draw the rule's mask anew: it has a layer of its own again, or what was held back can be written."""
        if self._staple is not None:
            self._write_staple()
        elif self._ensemble.begun:
            self._pending.only(self._started.slices, here=self._slice_on_screen())
        self.behind.emit()

    def _take_edit(self, base: Mask) -> None:
        """Leave the layer to who paints in it, and give the rule's mask another."""
        layer = self._mask.layer
        count = len(self._ensemble.begun[: self._first])
        words = f"{self._summary.of_run(self._started).words} ({count} member{'' if count == 1 else 's'})"
        edited = EditedLayer(self._next_edit, layer, self._frame, words, base)
        if layer.name == f"{self._prefix} | mask":  # a name that the user gave stays
            layer.name = f"{self._prefix} | mask {edited.name}"
        layer.colormap = label_colors(self._started.regions, first=EDITED_COLOR)
        self._edited.append(edited)
        self._measured = edited
        self._mask = self._add_mask(visible=layer.visible)
        self.outline()
        self._draw_mask()
        self._let_come()
        self.edited.emit(edited)
        self.behind.emit()

    @property
    def _next_edit(self) -> int:
        return 1 + max([*self.result.edited, *(edited.number for edited in self._edited)], default=0)

    def _add_kept_edits(self) -> None:
        """Bring back the corrections that the run has."""
        for number, kept in self.result.edited.items():
            words = kept.record.began_from
            name = "mask edited" if number == 1 else f"mask edited {number}"
            shown = self._add_labels(name, np.array(kept.mask), visible=True)
            shown.layer.colormap = label_colors(self._started.regions, first=EDITED_COLOR)
            edited = EditedLayer(number, shown.layer, self._frame, words, kept.base)
            self._edited.append(edited)
            self._measured = edited
            self.edited.emit(edited)
        self.outline()

    @property
    def edits(self) -> tuple[EditedLayer, ...]:
        """The corrections whose layers are in the viewer, or on their way there."""
        return tuple(e for e in self._edited if is_there(self._viewer, e.layer) or self._arriving.awaits(e.layer))

    def tell_edits(self) -> None:
        """Tell of all corrections once more, for somebody who listens only now."""
        for edited in self.edits:
            self.edited.emit(edited)

    def choose_mask(self, number: int | None) -> None:
        """Measure a correction, by its number, or the mask that the rule makes."""
        self._measured = next((edited for edited in self._edited if edited.number == number), None)

    def _add_map(self, name: str, shape: tuple[int, ...], style: dict[str, Any]) -> LayerArray:
        array = np.zeros(shape, np.float32)
        layer = self._add(self._frame.to_display(array), "image", {**style, "name": name})
        if not layer.visible:
            show_bar_when_seen(layer)
        return LayerArray(array, layer)

    def _add_labels(
        self, name: str, array: npt.NDArray[np.uint8], *, visible: bool, below: Collection[Layer] = ()
    ) -> LayerArray:
        style = {
            "name": f"{self._prefix} | {name}",
            "visible": visible,
            "colormap": label_colors(self._started.regions),
        }
        layer = self._add(self._frame.to_display(array), "labels", style, below=below)
        build_when_painting(layer)
        return LayerArray(array, layer)

    def _add(self, data: npt.NDArray[Any], kind: str, style: dict[str, Any], *, below: Collection[Layer] = ()) -> Layer:
        from napari.layers import Layer

        attributes = self._attributes()
        if data.ndim == 4:
            attributes = with_member_axis(attributes)
        layer = Layer.create(data, attributes | style, kind)
        if self._is_away:
            self._put_away.append((layer, layer.visible))
        else:
            self._arriving.put(layer, below=below)
        return layer

    def _attributes(self) -> dict[str, Any]:
        attributes = self._frame.layer_attributes()
        attributes["metadata"] = {METADATA_KEY: self._frame, RESULT_KEY: self._prefix}
        return attributes

    def outline(self) -> None:
        """Draw masks as outlines in 2-D, so that the image stays in sight, and filled in 3-D, where napari has none."""
        for layer in (self._mask.layer, *(edited.layer for edited in self._edited)):
            layer.contour = 0 if self._viewer.dims.ndisplay == 3 else 1

    def show_expected(self, slices: Iterable[int]) -> None:
        """Draw the variance that very many members would have, p (1 - p) of the one-step estimate, on some slices.

        It ranks voxels on which few members agree, so it finds errors that all of them make. Checkpoints without such
        an estimate get no layer, and a layer that the user has removed stays removed.
        """
        expected = self._ensemble.expected
        if expected is None:
            return
        sampled = set(self._started.sampled)
        known = [s for s in slices if s in sampled and expected.on_slice(s) is not None]
        if not known:
            return
        if not self._expected:
            empty = np.zeros((len(self._started.labels), *self._started.source_shape), np.float32)
            self._expected = [self._make_expected(c, data) for c, data in enumerate(empty)]
        axis = self._started.slice_axis
        for layer, p in zip(self._expected, expected.probability(), strict=True):
            volume = self._frame.to_source(layer.data)
            if expected.is_complete:  # several times as fast as slice by slice, and without arrays in between
                np.subtract(1, p, out=volume)
                np.multiply(volume, p, out=volume)
            else:
                share = np.moveaxis(p, axis, 0)[known]
                np.moveaxis(volume, axis, 0)[known] = share * (1 - share)
            layer.refresh(extent=False, thumbnail=False, highlight=False)
        self._sum_up_again(known)

    def show_refined(self) -> None:
        """Draw the smoothed probability by the refined estimate, which has come of all slices at once."""
        self._sum_up_again(self._started.sampled)

    def _sum_up_again(self, slices: Iterable[int]) -> None:
        """The smoothed probability of some slices is another, as their estimate is."""
        voted = {s for s in slices if self._ensemble.votes_slice(s)[1]}
        if voted and not self._ensemble.smoothing.is_none:
            self._sum_up(voted)
            for shown in self._shown(set()):
                shown.redraw()

    def _make_expected(self, c: int, variance: npt.NDArray[np.float32]) -> Layer:
        labels = self._started.labels
        tag = f" {labels[c]}" if len(labels) > 1 else ""
        style = uncertainty_style(_LARGEST_OF_A_COIN) | {"visible": False}
        style["name"] = f"{self._prefix} | one-step uncertainty{tag}"
        layer = self._add(self._frame.to_display(variance), "image", style)
        layer.colorbar.position = "top_left"  # the run's own uncertainty is on the right, and two do not fit
        show_bar_when_seen(layer)
        return layer
