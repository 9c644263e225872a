"""Tries a changed image on the slice on the screen, and shows how its members differ from the run's."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np

from napari_diffseg.errors import DiffsegError
from napari_diffseg.plugin.canvas.result_style import difference_style
from napari_diffseg.plugin.explore.navigation import slice_on_screen
from napari_diffseg.plugin.explore.refusal import Refusal
from napari_diffseg.plugin.explore.sample_again import (
    describe_left_out,
    describe_sampled_across,
    members_of_slices,
    record_of,
    why_not,
)
from napari_diffseg.plugin.grid.layer_volume import frame_of_layer
from napari_diffseg.plugin.layers.slice_map import SliceMapLayer
from napari_diffseg.plugin.session.task import Phase, Task, Work
from napari_diffseg.plugin.session.what_if_job import what_if_job

if TYPE_CHECKING:
    import numpy.typing as npt
    from napari.components import ViewerModel

    from napari_diffseg.plugin.layers.result_layers import ResultLayers
    from napari_diffseg.plugin.layers.result_view import ResultView
    from napari_diffseg.plugin.session.run_entry import RunEntry
    from napari_diffseg.plugin.session.session import Session
    from napari_diffseg.plugin.widgets.what_if_box import WhatIfBox
    from napari_diffseg.segmenting.what_if import Change


_TAKES_ALL: Final = "Trying a change on them takes the whole volume: show another member."


class WhatIf:
    """Nothing of it goes into the run: its masks, its files and its uncertainty stay what they are.

    Parameters
    ----------
    viewer : ViewerModel or Viewer
        Its slice is sampled, and it gets the layer of the difference.
    session : Session
        Does the work, when nothing else is going on.
    results : ResultLayers
        Says which run is on the screen.
    box : WhatIfBox
        Asks, and says what came of it.
    """

    def __init__(self, viewer: ViewerModel, session: Session, results: ResultLayers, box: WhatIfBox) -> None:
        self._viewer, self._session, self._results, self._box = viewer, session, results, box
        self._slab = SliceMapLayer(viewer)
        self._shown, self._found, self._trying = "", "", False
        self._refusal = Refusal(viewer, session, withdraw=self._explain)
        box.asked.connect(self.ask)
        session.changed.connect(self.follow)
        session.phase_changed.connect(self.follow)
        session.changed.connect(self._settle)

    def follow(self, _event: object = None) -> None:
        """Offer the images of the run on the screen; what was shown of another one is out of place, and goes."""
        view = self._results.view
        record = None if view is None else record_of(self._session, view)
        self._box.set_modalities([] if record is None else list(record.plan.case.volumes))
        if self._shown and (view is None or view.prefix != self._shown):
            self._clear()

    def hide(self) -> None:
        """Take the map off the screen."""
        self._slab.hide()

    def close(self) -> None:
        """Leave the viewer alone from now on."""
        self._refusal.close()

    def _clear(self) -> None:
        self._shown = self._found = ""
        self._slab.hide()
        self._explain()

    def _explain(self) -> None:
        """Say what is on the canvas, or what can be had."""
        self._box.say(self._found, shown=bool(self._found))

    def _refuse_at_once(self, reason: str) -> None:
        self._box.say(reason, shown=bool(self._found))
        self._refusal.stand()

    def ask(self) -> None:
        """Try what is chosen on the slice on the screen, or say why that cannot be."""
        view = self._results.view
        reason = why_not(self._viewer, self._session, view)
        if reason is not None or view is None:
            self._refuse_at_once(reason or "")
            return
        here, shown = slice_on_screen(self._viewer, view), view.ensemble.begun[: view.first]
        if view.ensemble.votes_slice(here, first=view.first)[1] < len(shown):
            self._refuse_at_once("Not all members have reached this slice: finish the run first.")
            return
        members = members_of_slices(view.started, shown)
        if not members:
            self._refuse_at_once(f"{describe_sampled_across(view.started, shown)} {_TAKES_ALL}")
            return
        record = record_of(self._session, view)
        assert record is not None  # why_not has seen to it
        try:
            change, words = self._change(record)
        except DiffsegError as err:
            self._refuse_at_once(str(err))
            return
        job = what_if_job(self._session.load_engine, record.plan, change, slice_index=here, members=members)
        present = np.stack([view.ensemble.member_slice(k, here)[0] for k in members])
        self._box.say(f"Slice {here}, {words}: sampling…", shown=bool(self._found))
        self._trying = True
        left_out = describe_left_out(view.started, shown)
        take = partial(self._take, view, here, change.modality, words, present, left_out)
        self._session.begin(Task(job, Work.WHAT_IF, take, refused=self._refuse))

    def _refuse(self, reason: str) -> None:
        self._trying = False
        self._box.say(reason, shown=bool(self._found))

    def _settle(self) -> None:
        """A try that was cancelled has come to nothing."""
        if self._trying and self._session.phase is Phase.IDLE:
            self._trying = False
            self._clear()

    def _change(self, record: RunEntry) -> tuple[Change, str]:
        """What is chosen, frozen, and in words; refused here already where the run's checkpoint is the one chosen."""
        from napari_diffseg.segmenting.what_if import Change, check_may_miss

        modality, layer = self._box.modality.currentText(), self._box.instead.layer()
        if layer is None:
            if record.plan.checkpoint == self._session.checkpoint:
                check_may_miss(self._session.recipe, modality, record.plan.case.volumes)
            return Change(modality), f"{modality} left out"
        return Change(modality, frame_of_layer(layer).volume), f"{layer.name} as {modality}"

    def _take(
        self,
        view: ResultView,
        s: int,
        modality: str,
        words: str,
        present: npt.NDArray[np.bool_],
        left_out: str,
        changed: npt.NDArray[np.bool_],
    ) -> None:
        from napari_diffseg.segmenting.what_if import compare

        now, self._trying = self._results.view, False
        if now is None or now.prefix != view.prefix:
            return
        found, name = compare(present, changed), f"what if, {modality}: run - changed"
        self._slab.show(view, s, plane=found.difference, name=name, style=difference_style())
        self._shown = view.prefix
        self._found = (
            f"Slice {s}, {words}, same noise, {len(present)} members: the majority loses {found.left} pixels "
            f"(orange) and gains {found.joined} (blue). Not the run's mask."
        )
        self._found = f"{self._found} {left_out}".rstrip()
        self._explain()
        self._session.message.emit(f"What if {words}: tried on slice {s}.")
