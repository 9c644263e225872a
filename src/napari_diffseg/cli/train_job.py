"""`train --on slurm`: a job in which torchrun starts the processes of a training, on one node or several."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from napari_diffseg.cohorts.slurm import SlurmOptions
from napari_diffseg.errors import BadRequest, RunFailed
from napari_diffseg.imaging.atomic import atomic_write, make_folder
from napari_diffseg.runs.command_words import option_words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

SCRIPT: Final = "train.sbatch"
_WARNING_S: Final = 300
"""How long before its time is up a job is told."""
_ASK_S: Final = 60

_TEXT: Final = """#!/bin/bash
# Written by napari-diffseg train --on slurm; the same training goes on with: sbatch {script}
{options}
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
port=$((20000 + SLURM_JOB_ID % 20000))
resume=()
[ ! -e {out}/config.toml ] || resume=(--resume)
wanted=
# The time is nearly up: the training is asked to save its state, and the job is queued again.
trap 'wanted=1; scancel --signal=TERM "$SLURM_JOB_ID.0"' USR1
srun {python} -m torch.distributed.run --nnodes {nodes} --nproc-per-node {processes} \\
    --rdzv-id "$SLURM_JOB_ID" --rdzv-backend c10d --rdzv-endpoint "$head:$port" \\
    -m napari_diffseg {words} "${{resume[@]}}" &
wait $!
code=$?
# Another job takes the place of this one, which is told to end and is queued again only if it does not.
case "$(scontrol --oneliner show job "$SLURM_JOB_ID")" in
    *JobState=RUNNING*PreemptTime=[0-9]*) wanted=1 ;;
esac
if [ -n "$wanted" ]; then
    wait
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
"""


class TrainingJob(BaseModel):
    """Where a training runs; the options of the command line are its fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    on: Literal["slurm"] | None = Field(
        None, description="Where: as a job of SLURM, submitted here. Default: this computer."
    )
    nodes: int | None = Field(None, ge=1, le=1000, description="With SLURM: computers. Default: 1.")
    gpus: int | None = Field(
        None, ge=0, le=64, description="With SLURM: GPUs of each computer, and processes on it. Default: 1."
    )
    time: str | None = Field(None, description="With SLURM: time limit, as minutes, H:MM:SS or D-H:MM:SS.")
    partition: str | None = Field(None, description="With SLURM: partition.")
    slurm: list[str] | None = Field(
        None, description="With SLURM: any other option of sbatch, as NAME=VALUE, such as account=lab; several times."
    )

    def check(self) -> None:
        """Refuse what would do nothing.

        Raises
        ------
        BadRequest
            With the options' names.
        """
        idle = [n for n in ("nodes", "gpus", "time", "partition", "slurm") if getattr(self, n) is not None]
        if idle and self.on is None:
            raise BadRequest(f"--{', --'.join(idle)} would do nothing without --on slurm.")


def submit_training(job: TrainingJob, out: Path, options: Mapping[str, Any]) -> str:
    """Write the job's script into the folder of the training, and submit it; the number of the job.

    Parameters
    ----------
    job : TrainingJob
        Where it runs.
    out : Path
        Folder of the training.
    options : mapping
        Options of `train` by name; those that are None or False are left out.

    Raises
    ------
    BadRequest
        If there is no SLURM here, or it refuses the job.
    OutputFailed
        If the script cannot be written.
    RunFailed
        If SLURM does not answer.
    """
    if shutil.which("sbatch") is None:
        raise BadRequest("There is no SLURM here (no sbatch): give the command on a computer that submits jobs.")
    make_folder(out)
    script = out / SCRIPT
    content = script_text(job, out, options).encode()
    atomic_write(script, lambda file: file.write(content), overwrite=True)
    try:
        asked = subprocess.run(
            ["sbatch", "--parsable", str(script)], capture_output=True, text=True, timeout=_ASK_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as err:
        raise RunFailed(
            f"SLURM does not answer: see with squeue whether the job is there, else sbatch {script}."
        ) from err
    if asked.returncode:
        raise BadRequest(f"SLURM does not take the job: {(asked.stderr.strip().splitlines() or ['no reason'])[-1]}")
    return asked.stdout.strip().partition(";")[0]


def script_text(job: TrainingJob, out: Path, options: Mapping[str, Any]) -> str:
    """The job's script.

    Raises
    ------
    BadRequest
        If the time limit or an option of SLURM cannot be read.
    """
    nodes, gpus = job.nodes or 1, 1 if job.gpus is None else job.gpus
    asked = SlurmOptions.of(
        jobs=1, gpus=gpus, time=job.time or "1-00:00:00", partition=job.partition, others=job.slurm or ()
    )
    lines = {
        "job-name": "napari-diffseg-train", "nodes": nodes, "ntasks-per-node": 1, "time": asked.minutes,
        "signal": f"B:USR1@{_WARNING_S}", "open-mode": "append", "output": f"{os.path.abspath(out)}/slurm-%j.txt",
        **({"gpus-per-node": gpus} if gpus else {}), **({"partition": job.partition} if job.partition else {}),
        **asked.others,
    }  # fmt: skip
    return _TEXT.format(
        script=shlex.quote(os.path.abspath(out / SCRIPT)),
        options="\n".join(["#SBATCH --requeue", *(f"#SBATCH --{name}={value}" for name, value in lines.items())]),
        out=shlex.quote(os.path.abspath(out)),
        python=shlex.quote(sys.executable),
        nodes=nodes,
        processes=max(1, gpus),
        words=shlex.join(["train", *_words(out, options)]),
    )


def _words(out: Path, options: Mapping[str, Any]) -> Sequence[str]:
    """The options of the training, with paths that hold wherever the job runs; whether it resumes, its script finds."""
    words = ["--out", os.path.abspath(out)]
    for name, value in options.items():
        if value is None or value is False:
            continue
        for each in value if isinstance(value, list) else [value]:
            is_path = isinstance(each, os.PathLike) or (name in ("data", "start_from") and os.path.exists(each))
            words += option_words(name, os.path.abspath(each) if is_path else each)
    return words
