"""Connects what explores a result: the cursor, the keys, and the boxes that show what they find."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_diffseg.plugin.explore.against_reference import AgainstReference
from napari_diffseg.plugin.explore.agreement import Agreement
from napari_diffseg.plugin.explore.answer_polling import AnswerPolling
from napari_diffseg.plugin.explore.keys import Keys
from napari_diffseg.plugin.explore.measuring import Measuring
from napari_diffseg.plugin.explore.member_tiles import MemberTiles
from napari_diffseg.plugin.explore.navigation import go_to_slice, go_to_voxel, show_member, slice_on_screen
from napari_diffseg.plugin.explore.pointer import Pointer
from napari_diffseg.plugin.explore.stapling import Stapling
from napari_diffseg.plugin.widgets.explore_box import ExploreBox

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from napari.components import ViewerModel

    from napari_diffseg.ensemble.lesions import Lesion
    from napari_diffseg.plugin.background.latest_only import Launcher
    from napari_diffseg.plugin.layers.result_layers import ResultLayers
    from napari_diffseg.plugin.widgets.result_box import ResultBox


class Exploring:
    """Everything that reads the result on the screen and changes nothing of the run.

    Parameters
    ----------
    viewer : ViewerModel or Viewer
        Where the result is shown.
    results : ResultLayers
        The result.
    result_box : ResultBox
        Shows the votes under the cursor.
    launch : callable (target, stop), optional
        Replaces napari's threads, for a test.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        results: ResultLayers,
        result_box: ResultBox,
        *,
        launch: Launcher | None = None,
    ) -> None:
        self._viewer = viewer
        self._results = results
        self._whole = 0
        self._chosen: int | None = None
        self.box = ExploreBox()
        launch = launch or napari_launch
        self.polling = AnswerPolling(self.box)
        self.measuring = Measuring(launch=launch)
        self.polling.watch(self.measuring.latest)
        self.measuring.measured.connect(self.box.show_findings)
        self.measuring.edited_measured.connect(self.box.show_edited)
        self.measuring.failed.connect(self.box.show_failure)
        self.agreement = Agreement(viewer, results, launch=launch, polling=self.polling)
        self.box.agreement.toggled.connect(self.agreement.show)
        self.reference = AgainstReference(viewer, results, self.box.reference, launch=launch, polling=self.polling)
        self.stapling = Stapling(results, launch=launch)
        self.polling.watch(self.stapling.latest)
        self.stapling.told.connect(result_box.show_note)
        self.pointer = Pointer(viewer, results)
        self.pointer.told.connect(result_box.show_cursor)
        self.box.volume.picked.connect(self._show_member)
        self.box.volume.shared.toggled.connect(self._share_layer)
        self.wall = MemberTiles(viewer, results, self.box.wall)
        self.box.wall.picked.connect(self._toggle_member)
        self.box.lesions.picked.connect(self._go_to_lesion)
        actions = {
            "U": lambda: toggle_uncertainty(results),
            "N": self._next_slice,
            "Shift-N": self.box.lesions.next,
        }
        self.keys = Keys(viewer, actions)

    def begin(self) -> None:
        """A new run has taken the screen."""
        self._whole = 0
        self.measuring.forget()
        self.stapling.ask()
        self.reference.judging.forget()
        self.wall.follow()
        self.pointer.forget()
        self._chosen = None
        self.box.choose_member(None)

    def follow(self, _sampled: object = None) -> None:
        """Members have come: measure anew, now and then, once another one is whole."""
        self.pointer.refresh()
        view = self._results.view
        whole = 0 if view is None else view.ensemble.count
        if whole > self._whole:
            self._whole = whole
            self.measuring.ask(view, at_once=False)
            self.stapling.ask(at_once=False)
            self.agreement.draw()
            self.wall.follow()

    def redraw(self) -> None:
        """The layers show the result in another way."""
        self.wall.follow()
        self.agreement.draw()

    def measure(self) -> None:
        """Measure what is on the screen now; the box shows it when it is known."""
        self.pointer.refresh()
        self.measuring.ask(self._results.view)
        self.stapling.ask()
        self.reference.judge()

    def measure_other(self) -> None:
        """Another region or mask is chosen: what was measured of the one before goes at once."""
        self.measuring.forget()
        self.measure()
        if self.measuring.is_busy:
            self.box.show_measuring()

    def hide(self) -> None:
        """Take what only this shows off the screen: outlines and errors."""
        self.agreement.hide()
        self.reference.hide()

    def close(self) -> None:
        """Take callbacks and keys back from the viewer, and end what is being measured."""
        self.polling.close()
        self.agreement.close()
        self.reference.close()
        self.wall.close()
        self.measuring.close()
        self.stapling.close()
        self.pointer.close()
        self.keys.close()

    def _show_member(self, member: int | None) -> None:
        view = self._results.view
        if view is not None:
            show_member(self._viewer, view, member)
            self._chosen = member
            self.box.choose_member(member)

    def _share_layer(self, shared: bool) -> None:
        """The members change their layers; the one on the canvas stays there."""
        self._results.share_layer(shared)
        self._show_member(self._chosen)

    def _toggle_member(self, member: int) -> None:
        self._show_member(None if member == self._chosen else member)

    def _go_to_lesion(self, lesion: Lesion) -> None:
        view = self._results.view
        if view is not None:
            go_to_voxel(self._viewer, view, lesion.voxel)

    def _next_slice(self) -> None:
        """Go to the most uncertain slice, and from there to the next most uncertain of those above their neighbours."""
        view, findings = self._results.view, self.measuring.findings
        if view is None or findings is None or not findings.uncertain_slices:
            return
        peaks = findings.uncertain_slices
        here = slice_on_screen(self._viewer, view)
        place = (peaks.index(here) + 1) % len(peaks) if here in peaks else 0
        go_to_slice(self._viewer, view, peaks[place])


def toggle_uncertainty(results: ResultLayers) -> None:
    """Hide the uncertainty on the screen, or bring it back."""
    view = results.view
    if view is None:
        return
    shown = any(layer.visible for layer in view.uncertainty)
    for c, layer in enumerate(view.uncertainty):
        layer.visible = not shown and c in view.maps_of


def napari_launch(target: Callable[[], None], stop: threading.Event) -> None:
    """Run in napari's threads; they are imported when there is something to run."""
    from napari_diffseg.plugin.background.worker import launch

    launch(target, stop)
