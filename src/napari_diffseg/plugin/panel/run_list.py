"""Keeps the list of runs, and does what is asked of one of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QApplication

from napari_diffseg.errors import BadRequest
from napari_diffseg.plugin.canvas.add_layer import bare, removing_together
from napari_diffseg.plugin.explore.comparing import Comparing
from napari_diffseg.plugin.grid.frame import RESULT_KEY
from napari_diffseg.plugin.session.command_line import command_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.components import ViewerModel

    from napari_diffseg.plugin.session.run_entry import RunEntry
    from napari_diffseg.plugin.session.session import Session
    from napari_diffseg.plugin.widgets.case_box import CaseBox
    from napari_diffseg.plugin.widgets.reference_box import Judged
    from napari_diffseg.plugin.widgets.runs_box import RunsBox


class RunList:
    """Shows the session's runs; reruns one, copies its command line, compares two, or takes one away with its layers.

    Parameters
    ----------
    viewer : ViewerModel or Viewer
        Holds the layers of the runs.
    session : Session
        Has the runs.
    box : RunsBox
        Shows them, and asks.
    case : CaseBox
        In which the images of a run are chosen again where those of another case are.
    attempt : callable
        Does what it is given, and says why where that cannot be done.
    may_rerun : callable
        Whether a run is to be done once more, which may take long.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        session: Session,
        box: RunsBox,
        case: CaseBox,
        *,
        attempt: Callable[[Callable[[], None]], None],
        may_rerun: Callable[[RunEntry], bool] = lambda _: True,
    ) -> None:
        self._may_rerun = may_rerun
        self._viewer, self._session, self._case = viewer, session, case
        runs = session.runs
        runs.changed.connect(lambda: box.show_runs(runs.records, runs.on_screen))
        runs.removed.connect(self._forget)
        box.show_asked.connect(lambda record: attempt(lambda: self._show(record)))
        box.rerun_asked.connect(lambda record: attempt(lambda: self._rerun(record)))
        box.remove_asked.connect(lambda record: attempt(lambda: runs.remove(record)))
        self.comparing = Comparing(viewer, session)
        box.compare_asked.connect(lambda one, other: attempt(lambda: self.comparing.ask(one, other)))
        box.copy_asked.connect(lambda record: attempt(lambda: self._copy_command(record)))

    def judge(self, judged: Judged | None) -> None:
        """The result on the screen has been held against the reference; None is no news."""
        if judged is not None:
            self._session.runs.judged(judged.view.prefix, judged.judgement.dice)

    def _show(self, record: RunEntry) -> None:
        self._choose_images(record)
        self._session.runs.show(record)

    def _rerun(self, record: RunEntry) -> None:
        self._session.check_free()
        if not self._may_rerun(record):
            return
        self._choose_images(record)
        self._session.rerun(record)

    def _choose_images(self, record: RunEntry) -> None:
        """Choose the images of a run, unless those that are chosen are of its case: nothing is shown on another's.

        Raises
        ------
        BadRequest
            If one of them is not open.
        """
        chosen = self._session.images
        if not chosen or record.plan.is_of(chosen):
            return
        found = record.plan.open_layers([bare(layer) for layer in self._viewer.layers])
        if len(found) < len(record.plan.case.volumes):
            raise BadRequest(f"The images of {record.title} are not open: open them first.")
        with self._session.choosing():
            self._case.choose_images(found)

    def _copy_command(self, record: RunEntry) -> None:
        line = command_line(record)
        clipboard = QApplication.clipboard()
        assert clipboard is not None  # every platform of Qt has one
        clipboard.setText(line)
        self._session.message.emit(f"Copied: {line}")

    def _forget(self, record: RunEntry) -> None:
        prefix = record.layer_prefix
        with removing_together(self._viewer):
            for layer in [layer for layer in self._viewer.layers if layer.metadata.get(RESULT_KEY) == prefix]:
                self._viewer.layers.remove(layer)
        self._session.message.emit(f"Run {record.number} is gone from the list. Its files are in {record.plan.folder}.")
