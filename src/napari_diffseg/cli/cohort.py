"""`predict` with several cases: in this process, in others of this computer, or as jobs of SLURM."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from napari_diffseg.cli.wording import worded
from napari_diffseg.errors import BadRequest, DiffsegError, Remedy

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from napari_diffseg.cohorts.attempts import Attempt
    from napari_diffseg.cohorts.cohort_folder import CohortFolder
    from napari_diffseg.cohorts.cohort_run import CohortRun
    from napari_diffseg.cohorts.follow import Follower
    from napari_diffseg.cohorts.launch import Launch
    from napari_diffseg.cohorts.standing import Standing
    from napari_diffseg.cohorts.work import CaseBegun, CaseEnded, CaseSkipped, CohortEvent
    from napari_diffseg.events import SamplingEvent
    from napari_diffseg.imaging.case_files import CaseFiles

_LOOK_S: Final = 1.0
_SLURM_LOOK_S: Final = 5.0


class Workers(BaseModel):
    """Who works on a cohort; the options of the command line are its fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    jobs: int | None = Field(None, ge=1, le=10_000, description="How many cases at once: processes, or jobs of SLURM.")
    shard: str | None = Field(
        None, pattern=r"[0-9]+/[0-9]+", description="Only every N-th case, beginning with the I-th: I/N, I from 1."
    )
    on: Literal["slurm"] | None = Field(
        None, description="Where: as jobs of SLURM, submitted here. Default: this computer."
    )
    gpus: int | None = Field(None, ge=0, le=64, description="With SLURM: GPUs of each job. Default: 1.")
    time: str | None = Field(
        None, description="With SLURM: time limit of each job, as minutes, H:MM:SS or D-H:MM:SS. Default: 1 day."
    )
    partition: str | None = Field(None, description="With SLURM: partition.")
    slurm: list[str] | None = Field(
        None, description="With SLURM: any other option of sbatch, as NAME=VALUE, such as account=lab; several times."
    )

    @property
    def is_asked_for(self) -> bool:
        """Whether one case, too, is to be treated as a cohort."""
        return bool(self.jobs or self.shard or self.on)

    def check(self) -> None:
        """Refuse what excludes each other, or would do nothing.

        Raises
        ------
        BadRequest
            With the options' names.
        """
        if self.shard and (self.jobs or self.on):
            raise BadRequest("--shard is for another launcher: leave out --jobs and --on.")
        idle = [n for n in ("gpus", "time", "partition", "slurm") if getattr(self, n) is not None]
        if idle and self.on is None:
            raise BadRequest(f"--{', --'.join(idle)} would do nothing without --on slurm.")
        self.share(1)

    def share(self, count: int) -> slice:
        """Which of so many cases are this shard's.

        Raises
        ------
        BadRequest
            If there is no such shard.
        """
        if self.shard is None:
            return slice(0, count)
        index, of = map(int, self.shard.split("/"))
        if not 1 <= index <= of:
            raise BadRequest(f"There is no shard {self.shard}: give I/N with I from 1 to N.")
        return slice(index - 1, count, of)


def segment_cohort(
    run: CohortRun, cases: Sequence[CaseFiles], workers: Workers, overrides: Mapping[str, Any]
) -> tuple[int, bool]:
    """Segment cases as `workers` says; how many failed, and whether all others are done.

    Raises
    ------
    DiffsegError
        If the state of the cohort cannot be read or written, or no worker can be started.
    """
    from napari_diffseg.cohorts.cohort_folder import CohortFolder
    from napari_diffseg.cohorts.launch import Launch

    folder = CohortFolder(run.out)
    names = folder.add(cases)
    names = names[workers.share(len(names))]
    if run.overwrite:
        folder.replace(names)
    launch = Launch.of(run, names, overrides)
    try:
        if workers.on == "slurm":
            return _on_slurm(folder, launch, workers)
        if workers.jobs:
            return _here(folder, launch, min(workers.jobs, len(names)))
        return _alone(run, names)
    finally:
        folder.write_table()


def _alone(run: CohortRun, names: Sequence[str]) -> tuple[int, bool]:
    """One case after another in this process."""
    from napari_diffseg.cohorts.work import CaseBegun, CaseEnded, CaseSkipped, work_through

    events = work_through(run, names)
    failed = 0
    try:
        for event in events:
            match event:
                case CaseBegun():
                    failed += _show_case(event, events)
                case CaseSkipped():
                    failed += _skipped(event)
                case CaseEnded():
                    failed += _ended(event)
    except KeyboardInterrupt:
        events.close()
        _say("interrupted; finished members are kept: the same command goes on.")
        raise
    return failed, True


def _show_case(begun: CaseBegun, events: Generator[CohortEvent]) -> int:
    """Read the events of a case while a bar shows them; 1 if it failed for good."""
    from napari_diffseg.cli.progress import show_progress
    from napari_diffseg.cohorts.work import CaseEnded, CaseProgress

    ended: list[CaseEnded] = []

    def of_case() -> Generator[SamplingEvent]:
        for event in events:
            match event:
                case CaseProgress():
                    yield event.event
                case CaseEnded():
                    ended.append(event)
                    return

    show_progress(of_case(), begun.name)
    return _ended(ended[0]) if ended else 0


def _ended(event: CaseEnded) -> int:
    if event.error is not None:
        _say(f"{event.name}: {worded(event.error)}{' It is tried again after the others.' if event.again else ''}")
        return 0 if event.again else 1
    if not event.sampled:
        _say(f"{event.name}: nothing is missing in {event.folder}.")
    sys.stdout.write(f"{event.folder}\n")
    return 0


def _skipped(event: CaseSkipped) -> int:
    if event.why == "done":
        _say(f"{event.name}: nothing is missing in {event.folder}.")
        sys.stdout.write(f"{event.folder}\n")
    elif event.why == "elsewhere":
        _say(f"{event.name}: another process works on it.")
    return int(event.why == "failed")


def _here(folder: CohortFolder, launch: Launch, jobs: int) -> tuple[int, bool]:
    """Processes of this computer, until no case is left for them."""
    from napari_diffseg.cohorts.follow import Follower
    from napari_diffseg.cohorts.here import WorkersHere

    launch.write(folder)
    follower, workers = Follower(folder, launch), WorkersHere(folder, launch, jobs)
    failed = 0
    try:
        with _Line(len(launch.names)) as line:
            while True:
                failed += sum(line.tell(folder, *ended) for ended in follower.look())
                line.show(follower)
                is_left = follower.has_free_cases
                if not workers.keep_going(is_work_left=is_left, unfinished=follower.unfinished) and not is_left:
                    break
                time.sleep(_LOOK_S)
    except KeyboardInterrupt:
        _say("interrupted: workers end; finished members are kept: the same command goes on.")
        raise
    finally:
        workers.stop()
    if not follower.is_over:
        _say(f"{follower.unfinished} cases are worked on by another command; napari-diffseg status shows them.")
    return failed, follower.is_over


def _on_slurm(folder: CohortFolder, launch: Launch, workers: Workers) -> tuple[int, bool]:
    """Jobs of SLURM, followed by their files; whether they are still there is asked of `squeue`."""
    from napari_diffseg.cohorts.follow import Follower
    from napari_diffseg.cohorts.slurm import SlurmOptions, cancel, cancel_waiting, has_jobs, submit

    options = SlurmOptions.of(
        jobs=min(workers.jobs or 1, len(launch.names)),
        gpus=1 if workers.gpus is None else workers.gpus,
        time=workers.time or "1-00:00:00",
        partition=workers.partition,
        others=workers.slurm or (),
    )
    launch.write(folder)
    job = submit(folder, launch, options)
    _say(f"job {job}: {options.jobs} submitted for {len(launch.names)} cases; logs in {folder.state / 'slurm'}.")
    follower = Follower(folder, launch)
    failed = 0
    try:
        with _Line(len(launch.names)) as line:
            while True:
                there = has_jobs(job)
                failed += sum(line.tell(folder, *ended) for ended in follower.look())
                line.show(follower)
                if follower.is_over or there is False:
                    break
                time.sleep(_SLURM_LOOK_S)
        cancel_waiting(job)
    except KeyboardInterrupt:
        _ask_to_cancel(job, options.jobs, cancel)
        raise
    if not follower.is_over:
        _say(f"job {job} has ended and not all cases are done: the same command goes on; logs are in {folder.state}.")
    return failed, follower.is_over


def _ask_to_cancel(job: str, count: int, cancel: Any) -> None:
    if sys.stdin is not None and sys.stdin.isatty():
        sys.stderr.write(f"\nCancel the {count} jobs, too? Otherwise they go on. [y/N] ")
        sys.stderr.flush()
        try:
            answer = sys.stdin.readline()
        except KeyboardInterrupt:
            answer = ""
        if answer.strip().lower() in ("y", "yes"):
            cancel(job)
            _say(f"job {job} is cancelled; finished members are kept: the same command goes on.")
            return
    _say(f"job {job} goes on: napari-diffseg status shows it, scancel {job} ends it.")


class _Line:
    """A bar of cases, and a line above it for each that is done or failed."""

    def __init__(self, total: int) -> None:
        from tqdm import tqdm

        interval = 0.1 if sys.stderr.isatty() else 10.0
        self._bar = tqdm(total=total, unit="case", file=sys.stderr, mininterval=interval, dynamic_ncols=True)

    def __enter__(self) -> _Line:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def tell(self, folder: CohortFolder, name: str, standing: Standing, last: Attempt | None) -> int:
        """Print where results are, or why there are none; 1 if there are none."""
        from napari_diffseg.cohorts.standing import Standing, reason

        if standing is Standing.DONE:
            self._bar.write(str(folder.result_folder(name)), file=sys.stdout)
            return 0
        told = why(reason([last] if last else []), last)
        self._bar.write(f"{name}: {told}", file=sys.stderr)
        return 1

    def show(self, follower: Follower) -> None:
        """What is done, what goes on, and how long the rest may take."""
        counts = {standing.value: count for standing, count in follower.counts.items()}
        self._bar.n = counts["done"] + counts["failed"]
        left = follower.seconds_left
        told = f", {duration(left)} left" if left is not None else ""
        self._bar.set_postfix_str(f"{counts['running']} running, {counts['failed']} failed{told}", refresh=False)
        self._bar.update(0)


def why(message: str, last: Attempt | None) -> str:
    """A case's sentence, with the options that would help."""
    remedies = last.remedies if last is not None and last.message == message else ()
    return worded(DiffsegError(message, *(Remedy(*pair) for pair in remedies)))


def duration(seconds: float) -> str:
    """Such as `3 h 20 min`, `5 min` or `40 s`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min" if minutes >= 2 else f"{60 * minutes + rest} s"


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
