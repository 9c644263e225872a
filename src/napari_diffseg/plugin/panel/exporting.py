"""Asks for an export of the last run, starts it, and asks again before files are replaced."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QDialog

from napari_diffseg.errors import DiffsegError, OutputExists
from napari_diffseg.imaging.names.dicom_files import holds_dicom, is_dicom_file
from napari_diffseg.imaging.volume import Volume
from napari_diffseg.plugin.canvas.add_layer import bare
from napari_diffseg.plugin.grid.reference import on_grid_of
from napari_diffseg.plugin.widgets.export_dialog import ExportDialog, ExportWish

if TYPE_CHECKING:
    from collections.abc import Callable

    from qtpy.QtWidgets import QWidget

    from napari_diffseg.appearance import Convention
    from napari_diffseg.ensemble.summary import Summary
    from napari_diffseg.plugin.explore.exploring import Exploring
    from napari_diffseg.plugin.layers.edited_layer import EditedLayer
    from napari_diffseg.plugin.layers.result_layers import ResultLayers
    from napari_diffseg.plugin.session.run_entry import RunEntry
    from napari_diffseg.plugin.session.session import Session
    from napari_diffseg.plugin.widgets.case_box import CaseBox
    from napari_diffseg.plugin.widgets.result_box import ResultBox
    from napari_diffseg.plugin.widgets.results_box import ResultActions
    from napari_diffseg.reporting import ReportChoice


class Exporting:
    """Exports the run that was on the screen when it was asked for, summed up as the result box shows it.

    Parameters
    ----------
    session : Session
        Has the runs, and writes.
    results : ResultLayers
        Has the masks that were edited.
    case, result, actions : CaseBox, ResultBox, ResultActions
        Images that can be resampled to; how the ensemble is summed up; the button, and who asks before replacing.
    exploring : Exploring
        Has the reference, and the smallest lesion that is listed.
    attempt : callable
        Does what it is given, and says why where that cannot be done.
    convention : callable
        On which side of the canvas the patient's left is now.
    parent : QWidget
        Of the window that asks.
    """

    def __init__(
        self,
        session: Session,
        *,
        results: ResultLayers,
        case: CaseBox,
        result: ResultBox,
        actions: ResultActions,
        exploring: Exploring,
        attempt: Callable[[Callable[[], None]], None],
        convention: Callable[[], Convention],
        parent: QWidget,
    ) -> None:
        self._session, self._case, self._result, self._actions = session, case, result, actions
        self._results, self._exploring = results, exploring
        self._attempt, self._convention, self._parent = attempt, convention, parent
        self._folder: Path | None = None
        self._asked: tuple[RunEntry, ExportWish] | None = None
        actions.export_asked.connect(self.ask)
        session.exported.connect(actions.show_exported)

    def ask(self) -> None:
        """Ask what to export, and start; nothing where there is no run."""
        run = self._session.runs.on_screen
        if run is None:
            return
        dialog = ExportDialog(
            run.case,
            title=f"Export {run.title}",
            edited="" if (edited := self._edited()) is None else edited.name,
            about=f"Run {run.line}",
            summary=self._summary_of(run),
            series=_series_of(run),
            regions=run.started.regions,
            layers=map(bare, self._case.candidates),
            folder=self._folder or Path.home(),
            parent=self._parent,
        )
        if dialog.exec() == QDialog.DialogCode.Accepted:
            self._start(run, dialog.wish)

    def may_replace(self, sentence: str, error: str) -> bool:
        """Whether a failure is that of an export which would have replaced files: then the user is asked."""
        if error != OutputExists.__name__ or self._asked is None:
            return False
        QTimer.singleShot(0, partial(self._offer_to_replace, sentence, *self._asked))
        return True

    def _start(self, run: RunEntry, wish: ExportWish, *, overwrite: bool = False) -> None:
        self._asked, self._folder = (run, wish), wish.folder

        def export() -> None:
            images = tuple(run.plan.case.volumes.values())
            choice = wish.choice(self._result.summary, images=images, overwrite=overwrite)
            also = self._report(run, wish) if wish.page or wish.pictures else None
            edited = self._edited() if wish.edited else None
            snapshot = None if edited is None else edited.snapshot()
            self._session.export(wish.folder, choice, also=also, run=run, edited=snapshot)

        self._attempt(export)

    def _report(self, run: RunEntry, wish: ExportWish) -> ReportChoice:
        """Page and pictures with what the panel shows: its image, its sides, its reference, its smallest lesion."""
        choice = wish.also(*self._background(run), self._convention())
        return replace(choice, truth=self._truth(run), smallest_ml=self._exploring.box.lesions.smallest_ml)

    def _truth(self, run: RunEntry) -> Volume | None:
        """The reference, where it lies on the voxels of the run and its labels can be told apart."""
        from napari_diffseg.evaluation.cases.regions import labels_in, regions_drawn

        view, layer = self._results.view, self._exploring.reference.layer
        if view is None or layer is None:
            return None
        try:
            drawn = on_grid_of(view.frame, layer)
            regions_drawn(run.started.regions, labels_in(drawn))
        except DiffsegError:  # what is compared with it says so
            return None
        return Volume(np.array(drawn), view.frame.volume.affine, None, None, ())

    def _edited(self) -> EditedLayer | None:
        """The edited mask that is measured, else the last one; None where there is none."""
        view = self._results.view
        return None if view is None or not view.edited else view.measured or view.edited[-1]

    def _summary_of(self, run: RunEntry) -> Summary:
        """What the result box shows of a run; rule and smoothing are its checkpoint's where nothing else is chosen."""
        return self._result.summary.of_run(run.started)

    def _background(self, run: RunEntry) -> tuple[str, Volume]:
        """The image that page and pictures show: the run's one that is on the screen, else its last."""
        volumes = run.plan.case.volumes
        shown = [name for name, layer in self._session.inputs.items() if name in volumes and layer.visible]
        name = (shown or list(volumes))[-1]
        return name, volumes[name]

    def _offer_to_replace(self, sentence: str, run: RunEntry, wish: ExportWish) -> None:
        if self._actions.ask_to_replace(sentence):
            self._start(run, wish, overwrite=True)


def _series_of(run: RunEntry) -> Path | None:
    """Where the DICOM series lies that an image of the run was read from; None where none was."""
    for volume in run.plan.case.volumes.values():
        if volume.path is not None and (holds_dicom(volume.path) or is_dicom_file(volume.path)):
            return volume.path
    return None
