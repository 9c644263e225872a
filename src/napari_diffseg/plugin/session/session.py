"""The run of one viewer: what is chosen, whether it can start, how far it is; no widget, so a test can drive it."""

from __future__ import annotations

from collections import deque
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from napari_diffseg.errors import BadCheckpoint, BadRequest, DiffsegError
from napari_diffseg.events import Expected, Finished, Refined, Sampled, Started, Stepped
from napari_diffseg.plugin.background.job import run_guarded
from napari_diffseg.plugin.background.mailbox import Ended, Ending, Item, LayerReady, StatusMessage, Timed
from napari_diffseg.plugin.session.batch import BUSY, Batch
from napari_diffseg.plugin.session.case_folder import open_job
from napari_diffseg.plugin.session.chosen import Chosen
from napari_diffseg.plugin.session.engine import EngineCache
from napari_diffseg.plugin.session.jobs import RunControl, export_job, load_job, read_job, segment_job
from napari_diffseg.plugin.session.plan import again_plan, extend_plan
from napari_diffseg.plugin.session.progress import describe_across, describe_estimate, describe_finish, describe_start
from napari_diffseg.plugin.session.reopening import reopen_job
from napari_diffseg.plugin.session.run_log import RunLog
from napari_diffseg.plugin.session.run_store import RunStore
from napari_diffseg.plugin.session.session_signals import SessionSignals
from napari_diffseg.plugin.session.task import Phase, Task, Work, why_busy
from napari_diffseg.plugin.session.testing_job import test_job
from napari_diffseg.recipe import PAPER

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from napari.layers import Layer, Shapes

    from napari_diffseg.plugin.session.batch import BatchPlan
    from napari_diffseg.plugin.session.case_folder import CaseFolder, FolderCase
    from napari_diffseg.plugin.session.engine import Engine
    from napari_diffseg.plugin.session.jobs import LoadEngine
    from napari_diffseg.plugin.session.reopening import ReopenedRun
    from napari_diffseg.plugin.session.run_entry import RunEntry
    from napari_diffseg.plugin.session.run_plan import RunPlan
    from napari_diffseg.plugin.session.scope import Scope
    from napari_diffseg.recipe import Recipe
    from napari_diffseg.remote.computer import Computer
    from napari_diffseg.reporting import ReportChoice
    from napari_diffseg.runs.edited_mask import EditedMask
    from napari_diffseg.runs.export import ExportChoice
    from napari_diffseg.segmenting.device.compile_meanwhile import CompileMeanwhile

    Launcher = Callable[[Callable[[], None], threading.Event], None]

_NO_CHECKPOINT = "Choose a checkpoint, or Demo for the shipped one."


class Session(SessionSignals):
    """Inputs, checkpoint and settings of the next run, and the run that is going on.

    All methods are called on the GUI thread. Jobs run where `launch` puts them and leave their messages in a mailbox;
    `poll` takes them out and emits the signals, and is called by a timer, or by a test.

    Parameters
    ----------
    launch : callable (target, stop)
        Runs `target()`, which never raises, in another thread. In napari it is
        `napari_diffseg.plugin.background.worker.launch`.
    load_engine : callable (checkpoint, overrides) -> Engine, optional
        Replaces the loading of checkpoints from files.
    runs_folder : Path, optional
        Where every run's results are kept; the user's data folder by default.
    """

    def __init__(
        self, *, launch: Launcher, load_engine: LoadEngine | None = None, runs_folder: Path | None = None
    ) -> None:
        self._launch = launch
        self.load_engine = load_engine or EngineCache()
        """Loads checkpoints, in the thread of a task."""
        self.store = RunStore(runs_folder) if runs_folder is not None else RunStore.of_user()
        """Where the runs are kept."""
        self._phase = Phase.IDLE
        self._task: Task | None = None
        self._waiting: deque[Task] = deque()
        self._recipe: Recipe | None = None
        self._rows: tuple[tuple[str, str], ...] = ()
        self._checkpoint_error = _NO_CHECKPOINT
        self._choosing = 0
        self.chosen = Chosen()
        """What the next run is made of."""
        self.runs = RunLog()
        self.folder: CaseFolder | None = None
        """The folder of cases that is gone through."""
        self.case_in_folder = ""
        """Name of the case of that folder that was opened last."""
        self.batch = Batch(launch=launch, load_engine=self.load_engine)
        """Many cases, one after the other; cases can be looked at meanwhile, but not sampled."""

    @property
    def phase(self) -> Phase:
        """What the session is doing."""
        return self._phase

    @property
    def recipe(self) -> Recipe:
        """What the chosen checkpoint promises; the paper's recipe while there is none."""
        return self._recipe or PAPER

    @property
    def checkpoint_rows(self) -> tuple[tuple[str, str], ...]:
        """The description of the chosen checkpoint, empty while there is none."""
        return self._rows

    @property
    def checkpoint(self) -> str:
        """The path of the checkpoint chosen, or `demo`; empty while none is."""
        return self.chosen.checkpoint

    @property
    def inputs(self) -> Mapping[str, Layer]:
        """The layer chosen for each modality, as far as chosen."""
        return dict(self.chosen.inputs)

    @property
    def values(self) -> Mapping[str, object]:
        """Settings of the next run that are not left at their defaults."""
        return dict(self.chosen.values)

    def why_busy(self) -> str | None:
        """Why nothing else can be begun now, as a sentence; None where nothing goes on."""
        return why_busy(self._phase, self._task)

    def why_no_sampling(self) -> str | None:
        """Why nothing can be sampled now, as a sentence: something else goes on, or a batch, which has the network."""
        return self.why_busy() or (BUSY if self.batch.is_going_on else None)

    def check_can_sample(self) -> None:
        """Refuse to sample beside what goes on.

        Raises
        ------
        BadRequest
            If something is going on; the sentence says what.
        """
        if (busy := self.why_no_sampling()) is not None:
            raise BadRequest(busy)

    @property
    def doing(self) -> str:
        """What goes on, in words, such as `A run is going on`; empty where nothing does."""
        return (self.why_no_sampling() or "").partition(":")[0].rstrip(".")

    def check_free(self) -> None:
        """Refuse to begin something beside what goes on.

        Raises
        ------
        BadRequest
            If something is going on; the sentence says what.
        """
        if (busy := self.why_busy()) is not None:
            raise BadRequest(busy)

    def assign(self, modality: str, layer: Layer | None, *, left_out: bool = False) -> None:
        """Choose the layer of a modality, or none: because there is none yet, or because it is to be left out."""
        (self.chosen.left_out.add if left_out else self.chosen.left_out.discard)(modality)
        if layer is None:
            self.chosen.inputs.pop(modality, None)
        else:
            self.chosen.inputs[modality] = layer
        if not self._choosing:
            self._follow_case()
            self.changed.emit()

    @contextmanager
    def choosing(self) -> Iterator[None]:
        """Choose several images: which case they are of is looked at when all are chosen."""
        self._choosing += 1
        try:
            yield
        finally:
            self._choosing -= 1
            if not self._choosing:
                self._follow_case()
                self.changed.emit()

    @property
    def images(self) -> list[Layer]:
        """The layers that are chosen for the checkpoint's modalities, in their order."""
        return [self.chosen.inputs[name] for name in self.recipe.modalities if name in self.chosen.inputs]

    def _follow_case(self) -> None:
        """Where the images that are chosen are of another case than the run on the screen, show the last run of theirs.

        Without any image nothing is known of the case, and what is on the screen stays.
        """
        if not (images := self.images):
            return
        entry = self.runs.on_screen
        if entry is None or not entry.plan.is_of(images):
            self.runs.show(next((run for run in reversed(self.runs.records) if run.plan.is_of(images)), None))

    def set_value(self, name: str, value: object) -> None:
        """Choose a setting of the next run; `name` is a field of SegmentRequest."""
        self.chosen.values[name] = value
        self.changed.emit()

    def set_scope(self, scope: Scope, drawn: Shapes | None = None) -> None:
        """Choose how much of the case the next run is about, and the layer that its box is drawn in."""
        self.chosen.scope, self.chosen.drawn = scope, drawn
        self.changed.emit()

    def open_case(self, paths: Sequence[str]) -> None:
        """Read a folder or files; `brought` tells of each layer, `case_read` when that was all.

        Of a folder that holds several cases nothing is read: `cases_found` tells of them.
        """
        self.begin(Task(read_job(paths, modalities=self.recipe.modalities), Work.OPENING, self._take_read))

    def _take_read(self, folder: CaseFolder | None) -> None:
        if folder is None:
            self.case_read.emit()
        else:
            self.cases_found.emit(folder)

    def open_case_of(self, folder: CaseFolder, case: FolderCase) -> None:
        """Read a case of a folder and its last run; `brought` tells of each layer, `case_opened` when that was all."""
        job = open_job(folder, case, checkpoint=self.chosen.checkpoint)
        self.begin(Task(job, Work.OPENING, self.case_opened.emit, refused=self.case_refused.emit))

    def reopen(self, folder: Path) -> None:
        """Bring a kept run back; `reopened` or `failed` tells how it went."""
        self.begin(Task(reopen_job(folder), Work.REOPENING, self._take_reopened))

    def _take_reopened(self, run: ReopenedRun) -> None:
        self.reopened.emit(run)
        self.runs.reopened(run)
        self.message.emit(run.words)

    def choose_checkpoint(self, text: str, overrides: Mapping[str, Any] | None = None) -> None:
        """Load a checkpoint, by its path or `demo`; `checkpoint_loaded` or `failed` tells how it went."""
        self.chosen.checkpoint, self.chosen.overrides = text, dict(overrides or {})
        self._refuse_checkpoint(_NO_CHECKPOINT)
        if text:
            job = load_job(self.load_engine, text, self.chosen.overrides, values=self.chosen.values)
            take = partial(self._take_engine, text)
            self.begin(Task(job, Work.LOADING, take, refused=self._refuse_checkpoint))

    def _take_engine(self, text: str, engine: Engine) -> None:
        if text != self.chosen.checkpoint:
            return  # another has been chosen since
        self._recipe, self._rows = engine.checkpoint.recipe, engine.rows  # not the engine, which would keep its weights
        self.message.emit("The checkpoint is loaded.")
        self.checkpoint_loaded.emit()

    def _refuse_checkpoint(self, reason: str) -> None:
        self._recipe, self._rows = None, ()
        self._checkpoint_error = reason
        self.checkpoint_loaded.emit()

    @property
    def computer(self) -> Computer | None:
        """Where runs are computed; None in this process."""
        return self.load_engine.computer if isinstance(self.load_engine, EngineCache) else None

    def choose_computer(self, computer: Computer | None) -> None:
        """Compute the next runs there, in another process where it is one, or in this one; the checkpoint follows.

        Raises
        ------
        BadRequest
            If something is going on, or engines cannot be on another computer here.
        """
        if not isinstance(self.load_engine, EngineCache):
            if computer is not None:
                raise BadRequest("Engines cannot be on another computer here.")
            return
        if computer == self.load_engine.computer:
            return
        self.check_free()
        self.load_engine.computer = computer
        self.choose_checkpoint(self.chosen.checkpoint, self.chosen.overrides)

    @property
    def compiler(self) -> CompileMeanwhile | None:
        """What compiles the network beside runs, in this process; None where nothing does."""
        return self.load_engine.compiler if isinstance(self.load_engine, EngineCache) else None

    def set_compile_meanwhile(self, is_wanted: bool) -> None:
        """Whether networks are compiled beside runs."""
        if isinstance(self.load_engine, EngineCache):
            self.load_engine.set_compile_meanwhile(is_wanted)

    def test_connection(self, computer: Computer | None) -> None:
        """Ask another computer's engine what it has; `connection_tested` or `failed` tells.

        Raises
        ------
        BadRequest
            If something is going on.
        """
        self.check_free()
        if computer is not None:
            self.begin(Task(test_job(computer), Work.TESTING, self._tell_tested, refused=self.connection_tested.emit))

    def _tell_tested(self, words: str) -> None:
        self.connection_tested.emit(words)
        self.message.emit("The connection was tested.")

    def unload(self) -> None:
        """Free the memory of the checkpoint's network; the next run loads it again.

        Raises
        ------
        BadRequest
            If something is going on.
        """
        self.check_can_sample()
        self.load_engine.forget()
        self.message.emit("The checkpoint's memory is free. The next run loads it again.")

    def why_not_run(self) -> str | None:
        """The reason why a run cannot start now, as a sentence; None when it can."""
        if (busy := self.why_no_sampling()) is not None:
            return busy
        try:
            self._plan(None)
        except DiffsegError as err:
            return str(err)
        return None

    def start(self, point: Sequence[float] | None = None) -> None:
        """Start a run with what is chosen now; a second call while it runs does nothing.

        Parameters
        ----------
        point : sequence of float, optional
            The point on the screen in world coordinates; its slice is sampled first.

        Raises
        ------
        DiffsegError
            If it cannot start, with the sentence of `why_not_run`.
        """
        if self._phase is not Phase.IDLE:
            return
        self.check_can_sample()
        if not self.chosen.keep_seed:
            self.seed_drawn.emit(self.chosen.draw_seed())
        self._begin_run(self._plan(point))

    def why_not_add(self) -> str | None:
        """The reason why no members can be added to the last run now, as a sentence; None when they can."""
        if (busy := self.why_no_sampling()) is not None:
            return busy
        if self.runs.on_screen is None:
            return "There is no run of this case to add members to: run first."
        return self.runs.on_screen.missing or None

    def why_not_export(self, entry: RunEntry | None) -> str | None:
        """The reason why a run cannot be exported now, as a sentence; None when it can."""
        if (busy := self.why_busy()) is not None:
            return busy
        if entry is None:
            return "There are no results of this case: run first."
        if not entry.result.ensemble.members:
            return "No member is finished yet: finish the run first."
        return None

    def add_members(self, count: int, point: Sequence[float] | None = None) -> None:
        """Add members to the last run, with its settings, whatever is chosen now; those it has are not sampled again.

        Parameters
        ----------
        count : int
            How many more than it was to have; 0 finishes a run that was cut short.
        point : sequence of float, optional
            The point on the screen in world coordinates; its slice is sampled first.

        Raises
        ------
        BadRequest
            If it cannot start, with the sentence of `why_not_add`, or it would have too many members.
        """
        reason, entry = self.why_not_add(), self.runs.on_screen
        if reason is not None or entry is None:
            raise BadRequest(reason or "Run first.")
        plan = extend_plan(entry.plan, count, slice_axis=entry.started.slice_axis, point=point)
        self._begin_run(plan, entry)

    def rerun(self, record: RunEntry) -> None:
        """Do a run once more, with its own images and settings, whatever is chosen now.

        Raises
        ------
        BadRequest
            If something else is going on, or its images are not there any more.
        """
        self.check_can_sample()
        if record.missing:
            raise BadRequest(record.missing)
        self._begin_run(again_plan(record.plan))

    def start_batch(self, plan: BatchPlan) -> None:
        """Segment many cases, one after the other.

        Raises
        ------
        BadRequest
            If something else is going on, or no case is chosen.
        """
        self.check_can_sample()
        self.batch.start(plan)
        self.changed.emit()

    def _begin_run(self, plan: RunPlan, entry: RunEntry | None = None) -> None:
        open_runs = {run.plan.folder for run in self.runs.records}
        control = RunControl()
        job = segment_job(self.load_engine, plan, control, open_runs=open_runs)
        self.begin(Task(job, None, lambda _: None, plan=plan, entry=entry, control=control))

    def look_at(self, point: Sequence[float]) -> None:
        """Let a run that is going on turn to the slice at a point in world coordinates. Else nothing happens."""
        task = self._task
        if task is not None and task.plan is not None and task.started is not None:
            task.control.focus = task.plan.slice_at(point, task.started.slice_axis)

    def _plan(self, point: Sequence[float] | None) -> RunPlan:
        if self._recipe is None:
            raise BadCheckpoint(self._checkpoint_error)
        return self.chosen.plan(self.recipe, point=point, runs_folder=self.store.root)

    def cancel(self) -> None:
        """Stop what is going on: members that are finished are kept."""
        if self._task is None:
            return
        self._task.stop.set()
        if self._phase in (Phase.RUNNING, Phase.PAUSED):
            self._set_phase(Phase.CANCELLING)
            self.message.emit("Stopping after this step…")

    def pause(self) -> None:
        """Let a run rest after its present step, with all it has in memory; `resume` goes on. Else nothing happens."""
        if self._task is not None and self._phase is Phase.RUNNING:
            self._task.rest()
            self._set_phase(Phase.PAUSED)
            self.message.emit("Paused: the run keeps its place and its memory.")

    def resume(self) -> None:
        """Go on with a run that is paused. Else nothing happens."""
        if self._task is not None and self._phase is Phase.PAUSED:
            self._task.go_on()
            self._set_phase(Phase.RUNNING)
            self.message.emit("Going on.")

    def export(
        self,
        folder: Path,
        choice: ExportChoice,
        *,
        also: ReportChoice | None = None,
        run: RunEntry | None = None,
        edited: EditedMask | None = None,
    ) -> None:
        """Write results to a folder, as chosen, and page and pictures where they are asked for.

        Parameters
        ----------
        folder, choice, also :
            Where to, and what.
        run : RunEntry, optional
            Of which run; of the one on the screen by default.
        edited : EditedMask, optional
            A correction of its mask, to be written beside it.

        Raises
        ------
        BadRequest
            If there are none, or something else is going on.
        """
        entry = run or self.runs.on_screen
        if (reason := self.why_not_export(entry)) is not None or entry is None:
            raise BadRequest(reason or "Run first.")
        source = entry.plan.folder
        self.begin(
            Task(export_job(source, folder, choice, also=also, edited=edited), Work.EXPORTING, self._tell_exported)
        )

    def _tell_exported(self, folder: Path) -> None:
        self.message.emit(f"Exported to {folder}.")
        self.exported.emit(folder)

    def leave(self) -> None:
        """Go on without a panel: nobody is told anything, and `poll` is called again by the next one."""
        self.forget_listeners()
        self.runs.forget_listeners()
        self.batch.forget_listeners()

    def close(self) -> None:
        """End for good: whatever runs is asked to stop, and nothing more is heard of it."""
        if self._task is not None:
            self._task.stop.set()
        self._task = None
        self._waiting.clear()
        self._phase = Phase.IDLE
        self.batch.close()
        if isinstance(self.load_engine, EngineCache):
            self.load_engine.end()

    def begin(self, task: Task) -> None:
        """Start a task, or let it wait until what is going on has ended."""
        if self._task is not None:
            self._waiting.append(task)
            return
        self._task = task
        self._set_phase(task.phase)
        self._launch(partial(run_guarded, task.job, task.mailbox, task.stop), task.stop)

    def _set_phase(self, phase: Phase) -> None:
        if phase is not self._phase:
            self._phase = phase
            self.phase_changed.emit(phase)

    def poll(self) -> None:
        """Take in what the worker has left since the last call, and tell the listeners."""
        task = self._task
        if task is None:
            return
        items = task.mailbox.take_items()
        step, preview = task.mailbox.take_step(), task.mailbox.take_preview()
        sampled = [item for item in items if isinstance(item, Sampled)]
        for item in items:
            if not isinstance(item, Sampled | Ended):
                self._hear(task, item)
        if sampled and task.entry is not None:
            task.entry.result.add(sampled)
            self.sampled.emit(sampled)
        ended = next((item for item in items if isinstance(item, Ended)), None)
        if ended is not None:
            self._end(task, ended)
        elif task.started is not None:
            if step is not None and not any(isinstance(item, Finished) for item in items):
                self._tell_plane(task, task.started, step)
            self._show_step(task, task.started, step, preview)

    def _hear(self, task: Task, item: Item) -> None:
        match item:
            case StatusMessage(text):
                self.message.emit(text)
            case LayerReady():
                self.brought.emit(item)
            case Timed():
                self.timed.emit(item)
            case Started():
                self._hear_started(task, item)
            case Expected() | Refined():
                if task.entry is not None:
                    task.entry.result.expect(item)
                self.expected.emit(item)
            case Finished():
                notes, evaluations = (
                    ((), 0) if task.started is None else (task.started.warnings, task.started.evaluations)
                )
                total = len(item.members) if task.entry is None else len(task.entry.started.members)
                self.message.emit(" ".join([describe_finish(item, total, evaluations), *notes]))

    def _hear_started(self, task: Task, started: Started) -> None:
        if task.plan is None:  # only a run tells of one
            return
        task.started = started
        if task.entry is None:
            task.entry = self.runs.begun(task.plan, started)
            self.started.emit(task.entry.result)
        else:
            task.entry.take_up(task.plan, started)
            self.runs.changed.emit()
            self.extended.emit(task.entry.result)
        self.message.emit(describe_start(started))

    def _tell_plane(self, task: Task, started: Started, step: Stepped) -> None:
        """Say how far that is which no preview shows: a member of the second plane, the estimate in both planes."""
        told = (step.across, step.estimated)
        if told == task.told or self._phase is not Phase.RUNNING:
            return
        if step.estimated is not None:
            self.message.emit(describe_estimate(started, step.estimated))
        elif step.across is None:
            self.message.emit(describe_start(started))
        else:
            self.message.emit(describe_across(started, *step.across))
            if task.told[0] is None:
                self.preview_ended.emit(step)
        task.told = told

    def _show_step(self, task: Task, started: Started, step: Stepped | None, preview: Stepped | None) -> None:
        if step is not None:
            if step.estimated is not None:
                task.begin_anew()
            left = None if step.estimated is not None else task.seconds_left(step.done)
            self.progress.emit(step.done, started.evaluations, left)
        if preview is not None and self._phase is Phase.RUNNING and (step is None or step.across is None):
            self.previewed.emit(preview)

    def _end(self, task: Task, ended: Ended) -> None:
        self._task = None
        self._set_phase(Phase.IDLE)
        if task.plan is not None:
            if task.started is not None and task.entry is not None:
                self.runs.ended(task.entry, ended.ending)
            self.run_ended.emit(ended.ending)
        match ended.ending:
            case Ending.FAILED:
                if task.refused is not None:
                    task.refused(ended.text)
                self.message.emit(ended.text)
                self.failed.emit(ended.text, ended.error)
            case Ending.CANCELLED:
                self.message.emit(_describe_stop(task))
            case Ending.DONE:
                task.done(ended.result)
        self.changed.emit()
        if self._waiting and self._task is None:
            self.begin(self._waiting.popleft())


def _describe_stop(task: Task) -> str:
    """What is left of a task that was cancelled."""
    if task.plan is None:
        return "Stopped."
    whole = 0 if task.entry is None else task.entry.result.ensemble.count
    if not whole:
        return "Stopped before the first member was finished: nothing is kept."
    return f"Stopped. {whole} finished member{' is' if whole == 1 else 's are'} kept."
