"""Starts a batch with what is chosen in the panel, and shows what has come of it in a window of its own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QFileDialog

from napari_diffseg.errors import BadRequest, DiffsegError
from napari_diffseg.imaging.atomic import atomic_write
from napari_diffseg.imaging.names.naming import shown_name
from napari_diffseg.plugin.panel.polling import Polling
from napari_diffseg.plugin.session.batch import BatchPlan, BatchRow, CaseState, batch_request
from napari_diffseg.plugin.widgets.batch_window import BatchWindow

if TYPE_CHECKING:
    from collections.abc import Callable

    from qtpy.QtWidgets import QWidget

    from napari_diffseg.plugin.panel.case_picking import CasePicking
    from napari_diffseg.plugin.session.case_folder import CaseFolder
    from napari_diffseg.plugin.session.session import Session
    from napari_diffseg.plugin.widgets.batch_window import BatchWish


class Batching:
    """The batch of the folder that is gone through; it belongs to the session, and goes on without window and panel.

    Parameters
    ----------
    session : Session
        Has the batch, and what is chosen.
    picking : CasePicking
        Has the folder, and opens the case of a line.
    seconds_of_case : callable
        What a run of the case on the screen would take, where that is known.
    is_wanted : callable (seconds)
        Whether to start what will take so long.
    attempt : callable
        Does what it is given, and says why where that cannot be done.
    parent : QWidget
        Of the window.
    """

    def __init__(
        self,
        session: Session,
        picking: CasePicking,
        *,
        seconds_of_case: Callable[[], float | None],
        is_wanted: Callable[[float | None], bool],
        attempt: Callable[[Callable[[], None]], None],
        parent: QWidget,
    ) -> None:
        self._session, self._picking, self._seconds_of_case = session, picking, seconds_of_case
        self._is_wanted, self._attempt = is_wanted, attempt
        self.window = BatchWindow(parent)
        self._polling = Polling(session.batch.poll, self.window)
        self.window.start_asked.connect(self._start)
        self.window.cancel_asked.connect(session.batch.cancel)
        self.window.case_asked.connect(self._open_case)
        self.window.save_asked.connect(self._save)
        self.window.pending_asked.connect(self._tick_pending)
        session.batch.changed.connect(self.show)
        session.batch.finished.connect(self._take_finished)
        session.batch.ended.connect(self._end)
        session.changed.connect(self.show)
        session.phase_changed.connect(self.show)
        if session.batch.is_going_on:
            self._polling.start()

    def open(self) -> None:
        """Bring the window up."""
        folder = self._folder
        if folder is None:
            return
        self.window.out.setText(str(folder.results))
        self.window.setWindowTitle(f"Batch: {shown_name(folder.path)}")
        self.window.show()
        self.window.raise_()
        self.show()

    def close(self) -> None:
        """The panel is closed."""
        self._polling.stop()
        self.window.close()

    def show(self, _event: object = None) -> None:
        """Show the table as it is now."""
        if not self.window.isVisible():
            return
        self.window.table.show_rows(self._rows())
        self.window.show_settings(self._settings_in_words())
        self.window.show_batch(self._session.batch, reason=self._why_not())

    @property
    def _folder(self) -> CaseFolder | None:
        """That of the batch under way, else the one that is gone through."""
        batch = self._session.batch
        return batch.plan.folder if batch.is_going_on and batch.plan is not None else self._picking.folder

    def _rows(self) -> list[BatchRow]:
        """The lines of the present batch, or of the last, among those of all cases of the folder."""
        batch, folder = self._session.batch, self._folder
        if folder is None:
            return list(batch.rows)
        told = {row.name: row for row in batch.rows} if batch.plan is not None and batch.plan.folder is folder else {}
        return [
            told.get(case.name) or BatchRow(case.name, CaseState.LEFT_OUT, message=case.sentence)
            for case in folder.cases
        ]

    def _settings_in_words(self) -> str:
        session = self._session
        try:
            request = batch_request(session.chosen)
        except DiffsegError as err:
            return str(err)
        timesteps = request.timesteps or session.recipe.timesteps
        scope = "whole volumes" if request.slices is None else f"slices {request.slices}"
        members = f"{request.members} member{'s' if request.members > 1 else ''}"
        checkpoint = shown_name(Path(session.checkpoint)) if session.checkpoint else "no checkpoint"
        steps = f"{timesteps} timestep{'s' if timesteps > 1 else ''}"
        return f"{checkpoint}: {members} x {steps}, seed {request.seed}, {scope}."

    def _why_not(self) -> str | None:
        """Why no batch can be started now, as a sentence."""
        session = self._session
        if (busy := session.why_busy()) is not None:
            return busy
        if not session.checkpoint_rows:
            return "Choose a checkpoint first, or Demo for the shipped one."
        try:
            batch_request(session.chosen)
        except DiffsegError as err:
            return str(err)
        return None

    def _start(self, wish: BatchWish) -> None:
        self._attempt(lambda: self._begin(wish))
        self.show()

    def _begin(self, wish: BatchWish) -> None:
        folder = self._picking.folder
        if folder is None:
            raise BadRequest("Open a folder of cases first.")
        if (reason := self._why_not()) is not None:
            raise BadRequest(reason)
        wanted = set(wish.names)
        plan = BatchPlan(
            folder=folder,
            cases=tuple(case for case in folder.cases if case.name in wanted),
            checkpoint=self._session.checkpoint,
            overrides=dict(self._session.chosen.overrides),
            request=batch_request(self._session.chosen),
            out=_checked(wish.out),
            replaces=wish.replaces,
        )
        each = self._seconds_of_case()
        if not self._is_wanted(None if each is None else each * len(plan.cases)):
            return
        folder.results = plan.out
        self._session.start_batch(plan)
        self._polling.start()

    def _take_finished(self, row: BatchRow) -> None:
        plan = self._session.batch.plan
        if plan is not None and row.state.has_results and row.folder is not None:
            self._picking.mark(plan.folder, row.name, row.folder)

    def _end(self, sentence: str) -> None:
        self._polling.stop()
        self.show()
        self.window.say(sentence)
        self._session.message.emit(sentence)
        self._session.changed.emit()

    def _open_case(self, name: str) -> None:
        if (folder := self._folder) is not None:
            self._attempt(lambda: self._picking.open_by_name(folder, name))

    def _tick_pending(self) -> None:
        folder = self._folder
        if folder is not None:
            self.window.table.tick([case.name for case in folder.cases if case.run is None])

    def _save(self) -> None:
        folder = self._folder
        start = str((folder.results if folder is not None else Path()) / "batch.csv")
        path, _ = QFileDialog.getSaveFileName(self.window, "Save the table", start, "Table (*.csv)")
        if path:
            self._attempt(lambda: self._write(Path(path)))

    def _write(self, path: Path) -> None:
        content = self._session.batch.table().encode()
        atomic_write(path, lambda file: file.write(content), overwrite=True, size=len(content))
        self.window.say(f"Saved as {path}.")


def _checked(out: Path) -> Path:
    if not out.is_absolute():
        raise BadRequest(f"Results cannot go to '{out}': choose a folder by its whole path.")
    return out
