"""The panel: shows a session, hands the user's choices to it, and logs nothing of its own."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, QTimer
from qtpy.QtGui import QKeySequence
from qtpy.QtWidgets import QFrame, QScrollArea, QShortcut, QVBoxLayout, QWidget

from napari_diffseg.ensemble.summary import Rule, Summary
from napari_diffseg.errors import DiffsegError
from napari_diffseg.imaging.demo_case import demo_case_folder
from napari_diffseg.plugin.background.mailbox import Ending
from napari_diffseg.plugin.canvas.add_layer import bare
from napari_diffseg.plugin.canvas.box_layer import add_box
from napari_diffseg.plugin.canvas.closing import Closing
from napari_diffseg.plugin.canvas.color_bar_warmup import ColorBarWarmup
from napari_diffseg.plugin.canvas.gl_context import delete_in_canvas
from napari_diffseg.plugin.canvas.linking import link_new
from napari_diffseg.plugin.canvas.painting import Painting
from napari_diffseg.plugin.canvas.sides import Sides
from napari_diffseg.plugin.explore.denoising import Denoising
from napari_diffseg.plugin.explore.editing import Editing
from napari_diffseg.plugin.explore.exploring import Exploring, napari_launch
from napari_diffseg.plugin.explore.keys import Keys
from napari_diffseg.plugin.explore.navigation import go_to_middle, go_where_it_sampled, show_images_of
from napari_diffseg.plugin.explore.what_if import WhatIf
from napari_diffseg.plugin.grid.layer_notes import notes_of
from napari_diffseg.plugin.grid.same_case import are_same_case
from napari_diffseg.plugin.layers.case_layers import CaseLayers
from napari_diffseg.plugin.layers.result_layers import ResultLayers
from napari_diffseg.plugin.panel.activity import Activity
from napari_diffseg.plugin.panel.batching import Batching
from napari_diffseg.plugin.panel.case_picking import CasePicking
from napari_diffseg.plugin.panel.catching_up import CatchingUp
from napari_diffseg.plugin.panel.checking import Checking
from napari_diffseg.plugin.panel.compiling import CompilingLine
from napari_diffseg.plugin.panel.computing import Computing
from napari_diffseg.plugin.panel.exporting import Exporting
from napari_diffseg.plugin.panel.forecasting import Forecasting
from napari_diffseg.plugin.panel.kept_session import KeptSession
from napari_diffseg.plugin.panel.polling import Polling
from napari_diffseg.plugin.panel.remembered import OF_THE_CHECKPOINT, Remembered, settings_path
from napari_diffseg.plugin.panel.resampling import Resampling
from napari_diffseg.plugin.panel.run_list import RunList
from napari_diffseg.plugin.panel.seen_by_network import SeenByNetwork
from napari_diffseg.plugin.panel.slice_here import SliceHere
from napari_diffseg.plugin.panel.top_row import TopRow
from napari_diffseg.plugin.session.forecast import LONG_S
from napari_diffseg.plugin.session.run_store import RunStore
from napari_diffseg.plugin.session.scope import Scope
from napari_diffseg.plugin.session.session import Session
from napari_diffseg.plugin.session.task import Phase
from napari_diffseg.plugin.widgets.case_box import CaseBox
from napari_diffseg.plugin.widgets.checkpoint_box import DEMO, CheckpointBox
from napari_diffseg.plugin.widgets.result_box import ResultBox
from napari_diffseg.plugin.widgets.results_box import ResultsBox
from napari_diffseg.plugin.widgets.run_box import CANVAS_RUN_KEY, RUN_KEY, RunBox
from napari_diffseg.plugin.widgets.runs_box import RunsBox
from napari_diffseg.plugin.widgets.settings_box import SettingsBox
from napari_diffseg.plugin.widgets.tab_order import follow_the_eye

if TYPE_CHECKING:
    from collections.abc import Callable

    import napari
    from napari.layers import Layer

    from napari_diffseg.ensemble.summary import OwnWays
    from napari_diffseg.events import Started
    from napari_diffseg.imaging.case import Case
    from napari_diffseg.plugin.background.mailbox import LayerReady
    from napari_diffseg.plugin.layers.edited_layer import EditedLayer
    from napari_diffseg.plugin.session.chosen import Chosen
    from napari_diffseg.plugin.session.reopening import ReopenedRun
    from napari_diffseg.plugin.session.run_entry import RunEntry
    from napari_diffseg.plugin.session.run_plan import RunPlan
    from napari_diffseg.plugin.session.run_result import RunResult

_MIN_WIDTH = 320
_SAMPLING = (Phase.RUNNING, Phase.PAUSED, Phase.CANCELLING)


class DiffsegPanel(QWidget):
    """The dock widget `Diffusion ensemble`.

    Parameters
    ----------
    napari_viewer : Viewer
        Whose layers are the inputs and get the results.
    session : Session, optional
        Replaces the session of its own, for a test.
    remembered : Remembered, optional
        Replaces what the user's settings file remembers.
    """

    def __init__(
        self,
        napari_viewer: napari.viewer.Viewer,
        session: Session | None = None,
        remembered: Remembered | None = None,
    ) -> None:
        super().__init__()
        self.viewer = napari_viewer
        delete_in_canvas(napari_viewer)
        self.remembered = remembered or Remembered(settings_path())
        kept = None if session is not None else KeptSession.take(napari_viewer)
        self.session, self.results = kept or (session or self._make_session(), ResultLayers(napari_viewer))
        self.case, self.checkpoint = CaseBox(self.session.store), CheckpointBox()
        self._case_layers = CaseLayers(napari_viewer)
        self.sides = Sides(napari_viewer)
        self.resampling = Resampling(napari_viewer, self.session, self.case)
        self.seen_by_network = SeenByNetwork(self.session, self.case, self.sides)
        self.settings, self.run_box = SettingsBox(), RunBox()
        self.result, self.runs_box = ResultBox(), RunsBox()
        self.exploring = Exploring(napari_viewer, self.results, self.result)
        self.results_box = ResultsBox(self.exploring.box, self.result, self.runs_box)
        self.denoising = Denoising(napari_viewer, self.session, self.results, self.exploring.box.denoising)
        self.what_if = WhatIf(napari_viewer, self.session, self.results, self.exploring.box.what_if)
        self.editing = Editing(
            self.results, self.session.runs.folder_of, launch=napari_launch, polling=self.exploring.polling
        )
        self.picking = CasePicking(
            napari_viewer,
            self.session,
            self.case,
            case_layers=self._case_layers,
            editing=self.editing,
            exploring=self.exploring,
            launch=napari_launch,
            attempt=self._try,
        )
        self.exporting = Exporting(
            self.session,
            results=self.results,
            case=self.case,
            result=self.result,
            actions=self.results_box.buttons,
            exploring=self.exploring,
            attempt=self._try,
            convention=lambda: self.sides.convention,
            parent=self,
        )
        self.forecasting = Forecasting(napari_viewer, self.session, self.remembered, self.settings)
        self.run_list = RunList(
            napari_viewer,
            self.session,
            self.runs_box,
            self.case,
            attempt=self._try,
            may_rerun=lambda run: self._is_wanted(self.forecasting.seconds_of(run, run.plan.request.member_numbers)),
        )
        self.batching = Batching(
            self.session,
            self.picking,
            seconds_of_case=lambda: self.forecasting.seconds,
            is_wanted=self._is_wanted,
            attempt=self._try,
            parent=self,
        )
        self.checking = Checking(
            self.session, self.checkpoint, reference=self.exploring.box.reference.layer.layer, attempt=self._try
        )
        self.slice_here = SliceHere(napari_viewer, self.session, self.settings.scope)
        self.activity = Activity(self.session, self)
        self._polling, self._painting = Polling(self.session.poll, self), Painting(napari_viewer, self)
        self.drawn_ahead = ColorBarWarmup(napari_viewer, self, first=self.activity.prepare)
        self._catching_up = CatchingUp(
            self.results,
            self.exploring.redraw,
            took=self._polling.excuse,
            painting=self._painting,
            parent=self,
        )
        self.top_row = TopRow(self.session, self.case, self.remembered)
        """Always in sight, above what scrolls."""
        self._case_shown: Case | None = None
        """Of the run that was on the screen last."""
        self._timesteps: int | None = None
        """Those of a reopened run, until its checkpoint is loaded."""
        self._closing = Closing(self)
        self._closing.came.connect(self._end)
        self.destroyed.connect(self.session.close)
        self._lay_out()
        self._begin(is_kept=kept is not None)

    def _make_session(self) -> Session:
        """A session that keeps its runs where the user said."""
        made = _new_session()
        if self.remembered.runs_folder is not None:
            made.store = RunStore(self.remembered.runs_folder)
        return made

    def _begin(self, *, is_kept: bool) -> None:
        """Listen, and show what the session has, which is not new where a panel before this one had it."""
        self.computing = Computing(self.session, self.remembered, self.checkpoint, attempt=self._try)
        self.compiling = CompilingLine(self.session, self.remembered, self.run_box)
        self._connect_widgets()
        self._connect_session()
        self._connect_runs()
        with self.session.choosing():
            chosen = self.session.chosen.copy()
            self._restore()
            self.reset_choices()
            self._follow_checkpoint()
            if is_kept:
                self._take_up(chosen)
        self._show_phase()
        follow_the_eye(self)

    def _lay_out(self) -> None:
        self.setObjectName("diffseg_panel")
        self.setMinimumWidth(_MIN_WIDTH)
        self._scroll = QScrollArea()
        inner = QWidget()
        column = QVBoxLayout(inner)
        for box in (self.case, self.checkpoint, self.settings, self.results_box):
            column.addWidget(box)
        column.addStretch(1)
        self._scroll.setWidgetResizable(True)
        self._scroll.setFrameShape(QFrame.Shape.NoFrame)
        self._scroll.setWidget(inner)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.top_row)
        layout.addWidget(self._scroll, 1)
        layout.addWidget(self.resampling.row)
        layout.addWidget(self.run_box)

    def _connect_widgets(self) -> None:
        self.case.opened.connect(self.session.open_case)
        self.case.assigned.connect(lambda name, layer, out: self.session.assign(name, layer, left_out=out))
        self.case.reopen_asked.connect(lambda folder: self.session.reopen(Path(folder)))
        self.case.sample_asked.connect(lambda: self._try(self._open_sample))
        self.case.sides.chosen.connect(self.sides.choose)
        self.sides.changed.connect(self.case.sides.show_convention)
        self.sides.changed.connect(self.exploring.wall.show_as)
        self.case.picker.batch_asked.connect(self.batching.open)
        self.checkpoint.chosen.connect(self.session.choose_checkpoint)
        self.checkpoint.unload_asked.connect(lambda: self._try(self.session.unload))
        self.settings.changed.connect(self.session.set_value)
        self.settings.keep_seed_changed.connect(partial(setattr, self.session.chosen, "keep_seed"))
        self.run_box.live_changed.connect(self.results.live.choose)
        self.settings.scope.changed.connect(self.session.set_scope)
        self.settings.scope.box_wanted.connect(lambda: add_box(self.viewer))
        self.result.changed.connect(self._summarise)
        self.exploring.box.convergence.settled.connect(self._stop_settled)
        self.exploring.box.volume.shared.toggled.connect(lambda _: self._catching_up.start_if_behind())
        self.run_box.run_asked.connect(self._run)
        key = QShortcut(QKeySequence(RUN_KEY), self)
        key.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
        key.activated.connect(self._press_run)
        self._keys = Keys(self.viewer, {CANVAS_RUN_KEY: self._press_run})
        self.results_box.buttons.more_asked.connect(self._add_members)
        self.run_box.pause_asked.connect(self.session.pause)
        self.run_box.resume_asked.connect(self.session.resume)
        self.run_box.cancel_asked.connect(self.session.cancel)
        self.viewer.dims.events.current_step.connect(self._look)

    def _connect_runs(self) -> None:
        runs, reference = self.session.runs, self.exploring.reference
        self.runs_box.settings_asked.connect(lambda record: self._take_settings(record.plan, record.started))
        reference.judging.judged.connect(self.run_list.judge)
        reference.replaced.connect(runs.forget_judgements)
        self.editing.changed.connect(self.exploring.measure)
        self.editing.failed.connect(self.run_box.show_status)
        self.results.edited.connect(self._show_edited)
        self.results.behind.connect(self._catching_up.start)
        self.result.mask_chosen.connect(self._measure_mask)
        self.result.region_chosen.connect(self._choose_region)
        runs.removed.connect(lambda entry: self.results.forget(entry.layer_prefix))
        runs.shown.connect(self._show_run)
        runs.changed.connect(self._show_phase)

    def _connect_session(self) -> None:
        session = self.session
        session.phase_changed.connect(self._show_phase)
        session.changed.connect(self._show_reason)
        session.message.connect(self.run_box.show_status)
        session.progress.connect(self.run_box.show_progress)
        session.failed.connect(self._show_failure)
        session.checkpoint_loaded.connect(self._follow_checkpoint)
        session.seed_drawn.connect(self.settings.controls["seed"].set_value)
        session.brought.connect(self._add_layer)
        session.cases_found.connect(lambda _: self._scroll_to(0))
        session.case_read.connect(self._take_case)
        session.reopened.connect(self._show_reopened)
        session.started.connect(self._prepare_results)
        session.extended.connect(self._extend_results)
        session.expected.connect(self.results.show_expected)
        session.expected.connect(lambda _: self._catching_up.start_if_behind())
        session.sampled.connect(self.results.show_sampled)
        session.sampled.connect(lambda _: self._show_unsampled())
        session.sampled.connect(lambda _: self._catching_up.start_if_behind())
        session.sampled.connect(self.exploring.follow)
        session.previewed.connect(self.results.show_preview)
        session.preview_ended.connect(self.results.end_preview)
        session.run_ended.connect(self._end_results)

    def _restore(self) -> None:
        """Set what the user chose the last time, and remember what is chosen from now on."""
        for name, value in self.remembered.values.items():
            self.settings.controls[name].set_value(value)
        if self.remembered.convention is not None:
            self.sides.choose(self.remembered.convention)
        self.case.sides.show_convention(self.sides.convention)
        self.sides.changed.connect(self.remembered.remember_convention)
        self.settings.keep_seed.setChecked(self.remembered.keep_seed)
        self.run_box.choose_live(self.remembered.live)
        self.results.live.choose(self.remembered.live)
        self.run_box.live_changed.connect(self.remembered.remember_live)
        self.result.set_summary(self.remembered.summary)
        self.results.summarise(self.result.summary)
        self.settings.changed.connect(self._remember)
        self.settings.keep_seed_changed.connect(self.remembered.remember_keep_seed)
        self.result.changed.connect(lambda summary, _: self.remembered.remember_summary(summary))

    def _remember(self, name: str, value: object) -> None:
        if name != OF_THE_CHECKPOINT:
            self.remembered.remember_value(name, value)
        elif self.session.checkpoint_rows and isinstance(value, int):
            self.remembered.remember_checkpoint(self.session.checkpoint, value)

    def _take_up(self, chosen: Chosen) -> None:
        """Show what the session has, as it was left when the panel before was closed."""
        self.checkpoint.show_chosen(chosen.checkpoint)
        for name, value in chosen.values.items():
            self.settings.controls[name].set_value(value)
        self.settings.scope.choose(chosen.scope)
        there = set(map(id, self.case.candidates))
        self.case.choose_images({name: layer for name, layer in chosen.inputs.items() if id(layer) in there})
        self.case.leave_out(chosen.left_out)
        self.session.runs.changed.emit()
        entry = self.session.runs.on_screen
        self._show_run(entry)
        self.results.tell_edits()
        if self.session.phase is not Phase.IDLE and (busy := self.session.why_busy()):
            self.run_box.show_status(busy)

    def reset_choices(self, _event: object = None) -> None:
        """Offer the layers that there are now; napari calls this when one comes, goes, moves or is renamed."""
        link_new(self.viewer.layers)
        with self.session.choosing():
            self.case.set_layers(self.viewer.layers)
            self.case.guess(self.viewer.layers)
        self._close_empty_case()
        self.settings.scope.set_layers(map(bare, self.viewer.layers))
        self.exploring.box.reference.set_layers(self.viewer.layers)
        self.exploring.box.what_if.set_layers(self.viewer.layers)

    def _close_empty_case(self) -> None:
        """Without images, and without a layer of the run on the screen, nothing is left of its case."""
        idle = self.session.phase is Phase.IDLE
        if idle and self.results.view is not None and not (self.session.images or self.results.is_in_viewer):
            self.session.runs.show(None)

    def _follow_checkpoint(self) -> None:
        self.checkpoint.show_rows(self.session.checkpoint_rows)
        with self.session.choosing():
            self.case.set_modalities(self.session.recipe.modalities, may_miss=self.session.recipe.may_miss)
        if self.results.view is None:
            self._show_own(self.session.recipe)
        checkpoint = self.session.checkpoint
        if self.session.checkpoint_rows:
            self.remembered.remember_checkpoint(checkpoint)
        recent = [entry.text for entry in self.remembered.checkpoints if entry.text != DEMO]  # it has its own button
        self.checkpoint.show_recent(recent)
        self.settings.follow(self.session.recipe, self.remembered.timesteps_of(checkpoint))
        is_known = bool(self.session.checkpoint_rows)
        self.settings.offer_second_plane(self.session.recipe.second_plane is not None or not is_known)
        if self.session.checkpoint_rows and self._timesteps is not None:
            self.settings.controls["timesteps"].set_value(self._timesteps)
            self._timesteps = None
        follow_the_eye(self)
        self._show_reason()

    def _add_layer(self, brought: LayerReady) -> None:
        with self._polling.excused(), self._painting.put_off():
            self._case_layers.add(brought)

    def _take_case(self) -> None:
        self._choose(self._case_layers.take())

    def _choose(self, added: list[Layer]) -> None:
        """Take layers that were opened for the next run's images and reference."""
        with self.session.choosing():
            is_next = self.case.choose_case(added)
        self.exploring.box.reference.guess(added)
        if is_next:
            go_to_middle(self.viewer, added[0])
            show_images_of(self.viewer, self.session.images)
        notes = [note for layer in added for note in notes_of(layer)]
        count = "1 image" if len(added) == 1 else f"{len(added)} images"
        self.run_box.show_status(" ".join([f"Opened {count}.", *dict.fromkeys(notes)]))

    def open_case(self, paths: list[str]) -> None:
        """Open files, a folder of one case or one of many, as if they were dropped on the box *Case*."""
        self._try(lambda: self._open(paths))

    def _open(self, paths: list[str]) -> None:
        if not self.case.buttons.isEnabled():
            self.session.check_free()
        self.session.open_case(paths)

    def _open_sample(self) -> None:
        self.session.open_case([str(demo_case_folder())])
        self.checkpoint.choose_if_none(DEMO)

    def _show_reopened(self, run: ReopenedRun) -> None:
        """Images, settings and checkpoint of a kept run, whose ensemble takes the screen after this."""
        with self.session.choosing():
            if added := self._case_layers.take():
                self._choose(added)
                self.case.leave_out(run.plan.left_out)
            else:
                self.case.choose_none()
        if run.plan.checkpoint:
            self.checkpoint.choose(run.plan.checkpoint)
        self._timesteps = run.started.timesteps
        self._take_settings(run.plan, run.started)

    def _take_settings(self, plan: RunPlan, started: Started) -> None:
        """Show a run's settings, for the next; a box that was drawn is not among them."""
        for name, control in self.settings.controls.items():
            control.set_value(started.timesteps if name == "timesteps" else getattr(plan.request, name))
        self.settings.scope.choose(Scope.VOLUME if plan.request.slices is None else Scope.RANGE)

    def _run(self) -> None:
        if self._is_wanted(self.forecasting.seconds):
            self._try(lambda: self.session.start(self.viewer.dims.point))

    def _press_run(self) -> None:
        """What the key does: nothing where Run could not be pressed."""
        if self.run_box.run.isVisibleTo(self) and self.run_box.run.isEnabled():
            self._run()

    def _is_wanted(self, seconds: float | None) -> bool:
        """Whether to start what will take so long; the user is asked before an hour or more."""
        return seconds is None or seconds < LONG_S or self.run_box.ask_whether_to_start(seconds)

    def _look(self, _event: object = None) -> None:
        if self.viewer.dims.ndim >= 3:  # without layers a viewer has two axes
            self.session.look_at(self.viewer.dims.point)

    def _add_members(self, count: int) -> None:
        entry = self.session.runs.on_screen
        if entry is not None and not self._is_wanted(self._seconds_of_more(entry, count)):
            return
        self._try(lambda: self.session.add_members(count, self.viewer.dims.point))

    def _seconds_of_more(self, entry: RunEntry, count: int) -> float | None:
        """What so many members more will take, with those that are still to come."""
        request = entry.plan.request
        there = min(entry.result.ensemble.count, request.members)
        first = request.first_member
        return self.forecasting.seconds_of(entry, range(first + there, first + request.members + count))

    def _try(self, action: Callable[[], None]) -> None:
        """Do what was asked for, and say why where it cannot be done."""
        try:
            action()
        except DiffsegError as err:
            self._show_failure(str(err), type(err).__name__)

    def _show_run(self, entry: RunEntry | None) -> None:
        """Show a run's results and nothing of the one before; None leaves no result on the screen."""
        with self._polling.excused(), self._painting.put_off():
            self.results_box.show_run(None if entry is None else entry.title)
            self._show_own(entry.started if entry else self.session.recipe)
            self.results.show(None if entry is None else entry.result)
            self._show_unsampled()
            self._follow_reference(entry)
            self._show_masks()
            view = self.results.view
            self.result.show_regions(
                () if view is None else view.started.regions, None if view is None else view.region
            )
            self.exploring.begin()
            self.denoising.follow()
            self.what_if.follow()
        show_images_of(self.viewer, self.session.images)
        if self.results.view is not None:
            go_where_it_sampled(self.viewer, self.results.view)
        going_on = entry is not None and entry.ending is None
        if self.session.phase not in _SAMPLING:
            self.run_box.show_progress(int(entry is not None and entry.ending is Ending.DONE), 1, None)
        self.result.set_count(0 if going_on else len(self.results.members))
        self._catching_up.start()
        self.exploring.measure()

    def _show_unsampled(self) -> None:
        self.result.show_unsampled(self.results.unsampled)

    def _show_masks(self) -> None:
        """Offer the edited masks of the run on the screen."""
        view = self.results.view
        edited = {} if view is None else {e.number: e.name for e in view.edited}
        measured = None if view is None or view.measured is None else view.measured.number
        self.result.show_masks(edited, measured)

    def _show_edited(self, result: RunResult, edited: EditedLayer) -> None:
        if result is self.results.result:
            self._show_masks()
            if edited.number not in result.edited:
                self.run_box.show_status(
                    f"You edit the mask of {result.title}: nothing else writes to layer '{edited.layer.name}' now. "
                    "Volume, lesions and Dice are of it from now on; the rule's mask has a layer of its own."
                )

    def _measure_mask(self, number: int | None) -> None:
        self.results.choose_mask(number)
        self.exploring.measure_other()

    def _choose_region(self, region: int | None) -> None:
        self.results.choose_region(region)
        self.exploring.redraw()
        self.exploring.measure_other()

    def _follow_reference(self, entry: RunEntry | None) -> None:
        """Drop what was drawn as the reference of another case, and take what this one has."""
        if entry is None:
            return
        reference, before = self.exploring.box.reference, self._case_shown
        if before is not None and not are_same_case(before, entry.plan.case) and reference.is_without_file:
            reference.layer.choose(None)
        reference.follow_case(self.viewer.layers, entry.plan.case)
        self._case_shown = entry.plan.case

    def _prepare_results(self, result: RunResult) -> None:
        QTimer.singleShot(0, self._scroll_to_results)
        with self._polling.excused(), self._painting.put_off():
            self.run_box.show_progress(0, result.started.evaluations, None)
            self.results.live.prepare()
        self._catching_up.start_if_behind()

    def _scroll_to_results(self) -> None:
        self._scroll_to(self.results_box.y())

    def _scroll_to(self, y: int) -> None:
        """Bring what lies so many pixels below the panel's begin to its top."""
        bar = self._scroll.verticalScrollBar()
        assert bar is not None  # a scroll area is made with one
        bar.setValue(y)

    def _extend_results(self, result: RunResult) -> None:
        self.run_box.show_progress(0, result.started.evaluations, None)
        if result is self.results.result:
            self.result.set_count(0)
        self.results.extend(result)
        self._catching_up.start()

    def _show_own(self, own: OwnWays) -> None:
        """Say what the checkpoint does where the result box leaves it to it."""
        ways = Summary().of_run(own)
        self.result.set_own(ways.rule or Rule.MAJORITY, own.smoothing_mm, own.refined_by)

    def _summarise(self, summary: Summary, first: int | None) -> None:
        self.results.summarise(summary, first=first)
        self._catching_up.start()
        self.exploring.measure()

    def _stop_settled(self, since: int) -> None:
        if self.session.phase is Phase.RUNNING:
            self.session.cancel()
            self.run_box.show_status(f"Stopping: the majority has settled since {since} members.")

    def _end_results(self, ending: Ending) -> None:
        self.results.end()
        self._catching_up.start()
        self.exploring.measure()
        self.result.set_count(len(self.results.members))
        self.run_box.show_progress(int(ending is Ending.DONE), 1, None)

    def _show_failure(self, sentence: str, error: str) -> None:
        self.run_box.show_status(sentence)
        if self.exporting.may_replace(sentence, error):
            return
        from napari.utils.notifications import show_error

        show_error(sentence)

    def _show_phase(self, _phase: Phase | None = None) -> None:
        phase = self.session.phase
        self._show_offers()
        self.run_box.show_phase(phase)
        why_not = self.session.why_not_export(self.session.runs.on_screen)
        self.results_box.buttons.show_export(why_not)
        if phase is Phase.IDLE:
            self._polling.stop()
        else:
            self._polling.start()
        self._show_reason()

    def _show_offers(self) -> None:
        """Cases can be opened unless a run goes on; a batch keeps its checkpoint."""
        is_free, in_batch = self.session.phase in (Phase.IDLE, Phase.WORKING), self.session.batch.is_going_on
        for box in (self.case.buttons, self.case.picker):
            box.setEnabled(is_free)
        self.case.reopen.setEnabled(not in_batch)
        self.checkpoint.setEnabled(is_free and not in_batch)

    def _show_reason(self) -> None:
        self._show_offers()
        self.run_box.show_reason(self.session.why_not_run())
        last = self.session.runs.on_screen
        reason = self.session.why_not_add()
        self.results_box.buttons.show_more(reason=reason, unfinished=last is not None and last.is_cut_short)
        self.results_box.follow_runs()
        self._show_usable()

    def _show_usable(self) -> None:
        """Settings and Run once there are images and a checkpoint; while something goes on, nothing goes away."""
        is_ready = bool(self.session.images and self.session.checkpoint_rows)
        if is_ready or self.session.phase is Phase.IDLE:
            self.settings.setVisible(is_ready)
            self.run_box.show_ready(is_ready)

    def _end(self) -> None:
        """Leave the viewer alone: the dock or the window is closed; with the window everything ends."""
        self._polling.stop()
        self._catching_up.stop()
        self._painting.resume()
        self.drawn_ahead.stop()
        self.activity.close()
        self.compiling.close()
        self.viewer.dims.events.current_step.disconnect(self._look)
        for part in (
            self._keys,
            self.picking,
            self.editing,
            self.exploring,
            self.denoising,
            self.what_if,
            self.slice_here,
            self.sides,
        ):
            part.close()
        if (window := self._closing.window_that_stays) is None:
            self.session.close()
            return
        self.destroyed.disconnect(self.session.close)
        for shown in (self.exploring, self.denoising, self.what_if):
            shown.hide()
        self._leave(window)

    def _leave(self, window: QWidget) -> None:
        """Only the panel is closed: what goes on goes on, and the next panel shows it."""
        if self.session.doing:
            from napari.utils.notifications import show_info

            show_info(f"{self.session.doing}, without the panel. Open the panel again to see or to cancel it.")
        self.session.leave()
        self.results.leave()
        KeptSession(window, self.viewer, self.session, self.results)


def _new_session() -> Session:
    from napari_diffseg.plugin.background.worker import launch

    return Session(launch=launch)
