"""Goes from case to case of a folder: opens the next with its run, and closes the one before."""

from __future__ import annotations

import weakref
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final
from weakref import WeakSet

from napari_diffseg.imaging.names.naming import shown_name
from napari_diffseg.plugin.background.latest_only import LatestOnly
from napari_diffseg.plugin.canvas.add_layer import bare, removing_together
from napari_diffseg.plugin.explore.keys import Keys
from napari_diffseg.plugin.explore.navigation import go_to_middle, show_images_of
from napari_diffseg.plugin.grid.frame import RESULT_KEY
from napari_diffseg.plugin.grid.same_case import file_of
from napari_diffseg.plugin.session.case_folder import find_references_of, find_runs_of, with_run
from napari_diffseg.plugin.session.task import Phase
from napari_diffseg.runs.layout import RECORD

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_diffseg.plugin.background.job import Job
    from napari_diffseg.plugin.background.latest_only import Launcher
    from napari_diffseg.plugin.background.mailbox import Mailbox
    from napari_diffseg.plugin.explore.editing import Editing
    from napari_diffseg.plugin.explore.exploring import Exploring
    from napari_diffseg.plugin.layers.case_layers import CaseLayers
    from napari_diffseg.plugin.session.case_folder import CaseFolder, FolderCase, OpenedCase
    from napari_diffseg.plugin.session.session import Session
    from napari_diffseg.plugin.widgets.case_box import CaseBox

_NEXT: Final = "PageDown"
_PREVIOUS: Final = "PageUp"


class CasePicking:
    """What the row of cases asks for, done in the session; the list itself is the session's, and outlives the panel.

    Going on closes the case before: what was painted is written, the layers that were opened for it go, and so do its
    runs, whose files stay. Coming back brings its last run back from them.

    Parameters
    ----------
    viewer : ViewerModel or Viewer
        Shows one case at a time.
    session : Session
        Opens cases.
    case : CaseBox
        Has the row, and the images that are chosen.
    case_layers : CaseLayers
        Adds layers on their way into the viewer.
    editing : Editing
        Writes what was painted.
    exploring : Exploring
        Has the reference.
    launch : callable (target, stop)
        Runs `target()`, which never raises, in another thread.
    attempt : callable
        Does what it is given, and says why where that cannot be done.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        session: Session,
        case: CaseBox,
        *,
        case_layers: CaseLayers,
        editing: Editing,
        exploring: Exploring,
        launch: Launcher,
        attempt: Callable[[Callable[[], None]], None],
    ) -> None:
        self._viewer, self._session, self._case = viewer, session, case
        self._case_layers, self._editing, self._exploring = case_layers, editing, exploring
        self._opened: WeakSet[Layer] = WeakSet()
        """Layers of the case that was opened last."""
        self._images: list[weakref.ref[Layer]] = []
        """Those of them that are its images."""
        self._wanted = self._opening = ""
        """Names of the case that is asked for, and of the one that is being read."""
        self.looking = LatestOnly(launch=launch)
        """What is found out of the cases: runs and references."""
        self.looking.answered.connect(self._take_known)
        exploring.polling.watch(self.looking)
        session.cases_found.connect(self._take_folder)
        session.case_opened.connect(self._take_case)
        session.case_refused.connect(self._take_refusal)
        session.case_read.connect(self._leave_list)
        session.changed.connect(self._go_on)
        session.run_ended.connect(self._mark_run)
        session.runs.changed.connect(self._mark_run)
        editing.changed.connect(lambda: self._mark_run(is_worked_on=True))
        case.picker.asked.connect(lambda place: attempt(partial(self.go_to, place)))
        case.picker.close_asked.connect(self.close_folder)
        picker = case.picker
        self._keys = Keys(viewer, {_NEXT: lambda: self._step(1), _PREVIOUS: lambda: self._step(-1)})
        self._picker = picker
        self.show()
        self.look_again()

    @property
    def folder(self) -> CaseFolder | None:
        """The folder that is gone through."""
        return self._session.folder

    @property
    def is_opening(self) -> bool:
        """Whether a case is being read that was asked for here."""
        return bool(self._opening)

    def go_to(self, place: int) -> None:
        """Open a case by its place in the list; one that is still being read gives way to it.

        Raises
        ------
        BadRequest
            If something else is going on.
        """
        folder = self.folder
        if folder is None:
            return
        if self._opening:
            self._wanted = folder.cases[place].name
            self._session.cancel()
            self.show()
            return
        self._session.check_free()
        self._wanted = folder.cases[place].name
        self._begin()

    def open_by_name(self, folder: CaseFolder, name: str) -> None:
        """Open a case of a folder by its name, with its last run.

        Raises
        ------
        BadRequest
            If something else is going on.
        """
        if not self._opening:
            self._session.check_free()
        self._session.folder = folder
        if (place := self._place_of(name)) >= 0:
            self.go_to(place)

    def close_folder(self) -> None:
        """Go through this folder no more; what is open stays."""
        self._session.folder, self._session.case_in_folder = None, ""
        self.looking.forget()
        self._opened.clear()
        self._wanted = ""
        self.show()

    def look_again(self) -> None:
        """Find out once more which cases have a run."""
        if (folder := self.folder) is not None:
            self.looking.ask(_runs_job(folder, self._session))

    def mark(self, folder: CaseFolder, name: str, run: Path) -> None:
        """A case of a folder has a new run."""
        for place, case in enumerate(folder.cases):
            if case.name == name:
                folder.cases[place] = with_run(replace(case, run=None), {}, run.parent)
        if folder is self.folder:
            self.show()

    def close(self) -> None:
        """Leave the viewer's keys alone: the panel is closed."""
        self.looking.forget()
        self._keys.close()

    def show(self) -> None:
        """Show the list as it is known now."""
        cases = [] if self.folder is None else self.folder.cases
        self._picker.show_cases(cases, self._place_of(self._wanted or self._session.case_in_folder))

    def _step(self, by: int) -> None:
        if self._picker.isVisible() and self._picker.isEnabled():
            self._picker.step(by)

    def _place_of(self, name: str) -> int:
        cases = [] if self.folder is None else self.folder.cases
        return next((n for n, case in enumerate(cases) if case.name == name), -1)

    def _take_folder(self, folder: CaseFolder) -> None:
        self._session.folder, self._session.case_in_folder = folder, ""
        self.show()
        self.look_again()
        self._session.message.emit(f"Folder {shown_name(folder.path)} holds {len(folder.cases)} cases.")
        self.go_to(0)

    def _take_known(self, cases: list[FolderCase]) -> None:
        folder = self.folder
        if folder is not None and [case.files for case in cases] == [case.files for case in folder.cases]:
            folder.cases = [_with_known(now, found) for now, found in zip(folder.cases, cases, strict=True)]
            self._mark_run()
            self.show()
            if any(case.reference is None for case in cases):
                self.looking.ask(_references_job(folder))

    def _begin(self) -> None:
        """Read the case that is asked for."""
        place, folder = self._place_of(self._wanted), self.folder
        if folder is None or place < 0:
            return
        self._editing.keep_now()  # what was painted a moment ago is read when one comes back
        self._mark_run()
        self._opening = self._wanted
        self.show()
        self._session.open_case_of(folder, folder.cases[place])

    def _go_on(self) -> None:
        """Once the reading of a case has ended, read the one that was asked for meanwhile."""
        if not self._opening or self._session.phase is not Phase.IDLE:
            return
        read, self._opening = self._opening, ""
        if self._wanted and self._wanted != read:
            self._begin()
        else:
            self._wanted = ""
            self.show()

    def _take_case(self, opened: OpenedCase) -> None:
        """Show the case instead of the one before."""
        self._case_layers.take()
        self._session.case_in_folder = opened.case.name
        twice = self._open_already(opened)
        with removing_together(self._viewer), self._session.choosing():
            self._close_runs(twice if opened.run is not None else ())
            before = {*self._layers_of_case(), *twice}
            self._opened = WeakSet(opened.layers)
            self._images = [weakref.ref(layer) for layer in opened.images.values()]
            self._case.choose_images(opened.images)
            if opened.run is not None:
                self._case.leave_out(opened.run.plan.left_out)
            self._remove(before)
        self._exploring.box.reference.guess(opened.layers)
        if images := list(opened.images.values()):
            go_to_middle(self._viewer, images[0])
            show_images_of(self._viewer, images)
        if opened.run is not None:
            self._session.runs.reopened(opened.run)
        self._tell(opened)

    def _take_refusal(self, _sentence: str) -> None:
        """A case cannot be read: the one before is closed, so that nothing is taken for it."""
        self._case_layers.take()
        self._session.case_in_folder = self._opening
        with removing_together(self._viewer), self._session.choosing():
            self._close_runs()
            self._case.choose_none()
            self._remove(set(self._layers_of_case()))
        self.show()

    def _leave_list(self) -> None:
        """A case that is none of the list's was opened."""
        self._session.case_in_folder = ""
        self._opened.clear()
        self._images = []
        self.show()

    def _layers_of_case(self) -> list[Layer]:
        """Layers that were opened for the case before, and those that were made of its files."""
        files = {file_of(layer) for layer in self._opened} - {None}
        return [
            layer
            for layer in map(bare, self._viewer.layers)
            if layer in self._opened or (RESULT_KEY not in layer.metadata and file_of(layer) in files)
        ]

    def _open_already(self, opened: OpenedCase) -> list[Layer]:
        """Layers of the case's files that were there before it was opened from the list."""
        files = {file_of(layer) for layer in opened.layers} - {None}
        return [
            layer
            for layer in map(bare, self._viewer.layers)
            if layer not in opened.layers and RESULT_KEY not in layer.metadata and file_of(layer) in files
        ]

    def _remove(self, layers: set[Layer]) -> None:
        """Remove layers; labels that somebody has painted in are kept nowhere else, so they stay, hidden."""
        for layer in [layer for layer in self._viewer.layers if bare(layer) in layers]:
            if _is_painted(bare(layer)):
                layer.visible = False
            else:
                self._viewer.layers.remove(layer)

    def _tell(self, opened: OpenedCase) -> None:
        cases = [] if self.folder is None else self.folder.cases
        words = f"Case {shown_name(opened.case.name)}: {self._place_of(opened.case.name) + 1} of {len(cases)}."
        run = "" if opened.run is None else opened.run.words
        self._session.message.emit(" ".join(word for word in (words, run, opened.note) if word))

    def _close_runs(self, twice: Sequence[Layer] = ()) -> None:
        """Take the runs of the case before off the list; their files stay, and bring them back.

        With them go runs of images that were open already, and now come from the list with their last run.
        """
        self._editing.keep_now()
        images = [layer for ref in self._images if (layer := ref()) is not None]
        for entry in self._session.runs.records:
            if entry.ending is not None and (entry.plan.is_of(images) or entry.plan.is_of(twice)):
                self._session.runs.remove(entry)

    def _mark_run(self, _ending: object = None, *, is_worked_on: bool = False) -> None:
        """The run on the screen is the last of its case, unless a batch has made another and nobody works on this."""
        folder, entry = self.folder, self._session.runs.on_screen
        place = self._place_of(self._session.case_in_folder)
        if folder is None or entry is None or place < 0 or not entry.plan.is_of(self._session.images):
            return
        case = folder.cases[place]
        is_edited = bool(entry.result.edited)
        has_members = bool(entry.result.ensemble.members)
        if not is_worked_on and _is_newer(case.run, entry.plan.folder):
            return
        if has_members and (case.run != entry.plan.folder or case.is_edited != is_edited):
            folder.cases[place] = replace(case, run=entry.plan.folder, is_edited=is_edited)
            self.show()


def _with_known(now: FolderCase, found: FolderCase) -> FolderCase:
    """A case with what was found out of it; a run that was made meanwhile is newer."""
    reference = now.reference if found.reference is None else found.reference
    run, is_edited = (found.run, found.is_edited) if now.run is None else (now.run, now.is_edited)
    return replace(now, reference=reference, run=run, is_edited=is_edited)


def _is_newer(known: Path | None, shown: Path) -> bool:
    """Whether the run that is known of a case was written after the one on the screen."""
    if known is None or known == shown:
        return False
    try:
        return (known / RECORD).stat().st_mtime > (shown / RECORD).stat().st_mtime
    except OSError:  # one is gone, or has just begun
        return False


def _is_painted(layer: Layer) -> bool:
    """Whether somebody has painted in it; napari says so nowhere but in what it can undo."""
    return bool(getattr(layer, "_undo_history", ()))


def _runs_job(folder: CaseFolder, session: Session) -> Job:
    store, results = session.store, folder.results

    def job(_mailbox: Mailbox, _stop: threading.Event) -> list[FolderCase]:
        return find_runs_of(folder, store, results=results)

    return job


def _references_job(folder: CaseFolder) -> Job:
    cases = list(folder.cases)

    def job(_mailbox: Mailbox, stop: threading.Event) -> list[FolderCase]:
        return find_references_of(folder, cases, stop=stop)

    return job
