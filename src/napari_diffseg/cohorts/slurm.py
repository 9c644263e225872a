"""Workers as jobs of SLURM, submitted by submitit as one array.

What became of cases is told by the files of the workers, not by SLURM: many clusters keep no accounts to be asked.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from napari_diffseg.cohorts.worker import stop_on, work_on
from napari_diffseg.errors import BadRequest, Remedy, RunFailed
from napari_diffseg.extras import check_extra
from napari_diffseg.imaging.atomic import make_folder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_diffseg.cohorts.cohort_folder import CohortFolder
    from napari_diffseg.cohorts.launch import Launch

_ASK_S: Final = 60
_WARNING_S: Final = 120
"""How long before its time is up a job is told, so that it can be queued again with what is finished."""
_MOST_REQUEUES: Final = 1000
_TIME: Final = re.compile(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?")


@dataclass(frozen=True, slots=True)
class SlurmOptions:
    """What is asked of SLURM for a cohort.

    Attributes
    ----------
    jobs : int
        How many, at once if there is room.
    gpus : int
        Of each job.
    minutes : int
        After which a job is ended; it is queued again where work is left.
    partition : str or None
        Where; the cluster's default otherwise.
    others : dict
        Any other options of `sbatch`.
    """

    jobs: int
    gpus: int
    minutes: int
    partition: str | None
    others: dict[str, str]

    @classmethod
    def of(cls, *, jobs: int, gpus: int, time: str, partition: str | None, others: Sequence[str]) -> SlurmOptions:
        """From words: a time as SLURM reads it, and `NAME=VALUE`.

        Raises
        ------
        BadRequest
            If one cannot be read.
        """
        split = [word.removeprefix("--").partition("=") for word in others]
        if bad := [word for word, (name, equals, _) in zip(others, split, strict=True) if not name or not equals]:
            raise BadRequest(f"Option of SLURM {bad[0]}: give NAME=VALUE, such as account=lab.")
        return cls(jobs, gpus, minutes_of(time), partition, {name: value for name, _, value in split})


def minutes_of(text: str) -> int:
    """A time limit as SLURM reads it: `90` (minutes), `90:00`, `1:30:00`, `1-12`, `1-12:00` or `1-12:00:00`.

    Raises
    ------
    BadRequest
        If it is none, or no time at all.
    """
    match = _TIME.fullmatch(text.strip())
    if match is None:
        raise BadRequest(f"{text} is no time limit: give minutes, H:MM:SS or D-H:MM:SS.", Remedy("time", "1:30:00"))
    days, *parts = match.groups()
    numbers = [int(part) for part in parts if part is not None]
    if days is not None:
        hours, minutes, seconds = (*numbers, 0, 0)[:3]
    elif len(numbers) == 3:
        hours, minutes, seconds = numbers
    else:
        hours, minutes, seconds = 0, numbers[0], (*numbers, 0)[1]
    total = int(days or 0) * 24 * 60 + hours * 60 + minutes + (1 if seconds else 0)
    if total < 1:
        raise BadRequest(f"{text} is no time at all: give minutes, H:MM:SS or D-H:MM:SS.", Remedy("time", "1:30:00"))
    return total


@dataclass(frozen=True, slots=True)
class ArrayWorker:
    """One task of the array; submitit pickles it and calls it on its node, again after it was queued again."""

    out: str
    launch: str
    index: int
    count: int

    def __call__(self) -> str:
        """Work until no case is left."""
        # submitit answers SIGUSR2, by which SLURM warns, and queues the job again. It ignores SIGTERM, which comes when
        # the job is cancelled or pre-empted: then the attempt is to be ended in order.
        stop_on(int(signal.SIGTERM))
        try:
            work_on(Path(self.out), self.launch, index=self.index, count=self.count, tell=_tell)
        except KeyboardInterrupt:
            _tell("stopped; finished members are kept")
            _queue_again_if_preempted()
            return "stopped"
        return "nothing is left"

    def checkpoint(self, *_: object) -> Any:
        """What is to be done after the job was queued again: the same, which goes on at the last finished member."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def _queue_again_if_preempted() -> None:
    """Queue this job again where another one takes its place.

    With a time of grace SLURM tells a pre-empted job to end, and queues it again only if it does not end by itself.
    """
    job = _own_job(os.environ)
    try:
        asked = subprocess.run(
            ["scontrol", "--oneliner", "show", "job", job], capture_output=True, text=True, timeout=_ASK_S, check=True
        )
        if _is_preempted(asked.stdout):
            _tell("another job takes the place of this one: it is queued again")
            subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True, timeout=_ASK_S, check=True)
    except (OSError, subprocess.SubprocessError) as err:
        _tell(f"job {job} cannot be queued again: {_last_words(err)}")


def _own_job(variables: Mapping[str, str]) -> str:
    """Name this task of an array alone: one of the tasks has the number of the array, which means all of them."""
    if "SLURM_ARRAY_JOB_ID" in variables:
        return f"{variables['SLURM_ARRAY_JOB_ID']}_{variables.get('SLURM_ARRAY_TASK_ID', '')}"
    return variables.get("SLURM_JOB_ID", "")


def _is_preempted(shown: str) -> bool:
    """Whether a job, as `scontrol show job` tells of it, runs and is to give way; a cancelled one does not run."""
    told = dict(word.partition("=")[::2] for word in shown.split())
    return told.get("JobState") == "RUNNING" and told.get("PreemptTime", "None") not in ("None", "Unknown")


def submit(folder: CohortFolder, launch: Launch, options: SlurmOptions) -> str:
    """Submit the workers of a command, which has been written; the number of the array.

    Raises
    ------
    BadRequest
        If there is no SLURM here, submitit is not installed, or SLURM refuses an option.
    """
    check_extra("cluster")
    _check_slurm()
    import submitit

    logs = folder.state / "slurm"
    make_folder(logs)
    executor = submitit.SlurmExecutor(folder=logs, max_num_timeout=_MOST_REQUEUES)
    try:
        executor.update_parameters(**_parameters(options))
        with executor.batch():
            jobs = [
                executor.submit(ArrayWorker(str(folder.out.absolute()), launch.id, k, options.jobs))
                for k in range(options.jobs)
            ]
    except (submitit.core.utils.FailedJobError, subprocess.CalledProcessError, OSError) as err:
        raise BadRequest(f"SLURM does not take the jobs: {_last_words(err)}") from err
    return str(jobs[0].job_id).partition("_")[0]


def _parameters(options: SlurmOptions) -> dict[str, Any]:
    parameters: dict[str, Any] = {
        "job_name": "napari-diffseg",
        "time": options.minutes,
        "signal_delay_s": _WARNING_S,
        "array_parallelism": options.jobs,
        "additional_parameters": {"requeue": True, **options.others},
    }
    if options.gpus:
        parameters["gpus_per_node"] = options.gpus
    if options.partition:
        parameters["partition"] = options.partition
    return parameters


def has_jobs(job: str) -> bool | None:
    """Whether tasks of an array wait or run; None where SLURM does not answer."""
    try:
        asked = subprocess.run(
            ["squeue", "--noheader", "--jobs", job, "--format", "%T"],
            capture_output=True, text=True, timeout=_ASK_S, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    if asked.returncode:
        return False if "Invalid job id" in asked.stderr else None
    return bool(asked.stdout.strip())


def cancel(job: str) -> None:
    """End all tasks of an array.

    Raises
    ------
    RunFailed
        If SLURM does not.
    """
    try:
        subprocess.run(["scancel", job], capture_output=True, text=True, timeout=_ASK_S, check=True)
    except (OSError, subprocess.SubprocessError) as err:
        raise RunFailed(f"Job {job} could not be cancelled: {_last_words(err)}") from err


def cancel_waiting(job: str) -> None:
    """Take tasks of an array that have not begun out of the queue: no case is left for them."""
    with suppress(OSError, subprocess.SubprocessError):  # they would begin, find nothing, and end
        subprocess.run(["scancel", "--state=PENDING", job], capture_output=True, text=True, timeout=_ASK_S, check=True)


def _check_slurm() -> None:
    if shutil.which("sbatch") is None:
        raise BadRequest(
            "There is no SLURM here (no sbatch): give the command on a computer that submits jobs, such as the "
            "cluster's login node."
        )


def _last_words(err: BaseException) -> str:
    said = getattr(err, "stderr", None) or str(err)
    text = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
    lines = [line for line in text.strip().splitlines() if line.strip()]
    return lines[-1] if lines else type(err).__name__


def _tell(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
