"""Kill workers and commands of cohorts at random moments, give the command again, compare with an undisturbed run.

    python scripts/kill_cohorts.py --kills 50 [--slurm] [--cases 6] [--members 12] [--seed 0] [--work FOLDER]
                                   [--out RESULT.json]

With `--slurm` the workers are jobs of a SLURM of this machine alone (needs slurm-wlm, munge and root), whose controller
is killed, too, and started again some seconds later, with what it has kept on disk.

Every cohort must come to its end, with the same bytes as the undisturbed one, and no case done twice.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from napari_diffseg.cohorts.cohort_folder import CohortFolder
from napari_diffseg.cohorts.standing import Standing

sys.path.insert(0, str(Path(__file__).parent))
from slurm_here import slurm_here

if TYPE_CHECKING:
    from slurm_here import SlurmHere

    from napari_diffseg.cohorts.attempts import Attempt

_HANG_S: Final = 600.0
_BY_COMMAND: Final = 0.3
"""Share of kills that hit the command and not a worker."""
_BY_CONTROLLER: Final = 0.4
"""Share of kills that hit SLURM's controller, where there is one."""
_NO_CONTROLLER_S: Final = 8.0
"""For how long there is none, at most."""


@dataclass
class Trial:
    """Cohorts that are disturbed, and what came of it."""

    words: list[str]
    work: Path
    expected: dict[str, str]
    random: random.Random
    cluster: SlurmHere | None = None
    kills: Counter[str] = field(default_factory=Counter)
    wrong: int = 0
    lost: int = 0
    doubled: int = 0
    hung: int = 0
    cohorts: int = 0
    commands: int = 0

    def disturb(self, most: int) -> None:
        """One cohort, from its first command to its end."""
        self.cohorts += 1
        out = self.work / f"out-{self.cohorts}"
        while True:
            command = self._start(out)
            if sum(self.kills.values()) >= most:
                self._wait(command)
                break
            if self._strike(command, out):
                break
        self._check(out)

    def _start(self, out: Path) -> subprocess.Popen[bytes]:
        self.commands += 1
        words = [*self.words, "--out", str(out), "--jobs", "2"]
        words += ["--on", "slurm", "--gpus", "0", "--time", "60"] if self.cluster else []
        env = None if self.cluster is None else self.cluster.env
        with (self.work / "commands.log").open("ab") as log:
            return subprocess.Popen(words, stdout=log, stderr=log, env=env)

    def _strike(self, command: subprocess.Popen[bytes], out: Path) -> bool:
        """Kill workers until the command is killed or ends; whether it came to its end."""
        began = time.monotonic()
        while time.monotonic() - began < _HANG_S:
            try:
                command.wait(self.random.uniform(0.2, 3.0))
            except subprocess.TimeoutExpired:
                pass
            else:  # with SLURM a worker that was killed is not started again by its command, but by the next one
                return self.cluster is None or all(r.state is Standing.DONE for r in CohortFolder(out).table())
            at_work = _at_work(out)
            if not at_work:
                continue
            if self.cluster is not None and self.random.random() < _BY_CONTROLLER:
                self.cluster.kill_controller()
                time.sleep(self.random.uniform(0, _NO_CONTROLLER_S))
                self.cluster.start_controller()
                self.kills["controller"] += 1
                began = time.monotonic()
                continue
            if self.random.random() < _BY_COMMAND:
                command.kill()
                command.wait()
                self.kills["command"] += 1
                return False
            _kill(self.random.choice(at_work))
            self.kills["worker"] += 1
            began = time.monotonic()
        self.hung += 1
        command.kill()
        return True

    def _wait(self, command: subprocess.Popen[bytes]) -> None:
        try:
            command.wait(_HANG_S)
        except subprocess.TimeoutExpired:
            self.hung += 1
            command.kill()

    def _check(self, out: Path) -> None:
        folder = CohortFolder(out)
        while any(row.state is Standing.RUNNING for row in folder.table()):  # workers of a command that was killed
            time.sleep(0.5)
        if any(row.state is not Standing.DONE for row in folder.table()):  # a case died three times in one command
            self._wait(self._start(out))
        rows = {row.name: row for row in folder.table()}
        for name, digest in self.expected.items():
            row = rows.get(name)
            if row is None or row.last is None or row.state is not Standing.DONE:
                self.lost += 1
            elif row.last.result != digest:
                self.wrong += 1
            self.doubled += max(0, sum(a.outcome == "done" for a in folder.attempts.of(name)) - 1)


def _at_work(out: Path) -> list[int]:
    """The processes that have a case just now."""
    folder = CohortFolder(out)
    last: list[Attempt] = [attempts[-1] for attempts in folder.attempts.of_all().values()]
    return [attempt.who.pid for attempt in last if folder.attempts.is_running(attempt)]


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def make_data(folder: Path, cases: int) -> Path:
    """Phantoms of a few voxels, one a folder."""
    from napari_diffseg.cli import main

    for k in range(cases):
        if not (folder / f"p{k}").is_dir():
            main(["phantom", "--out", str(folder / f"p{k}"), "--seed", str(k), "--spacing-mm", "8"])
    return folder


def run(
    kills: int,
    cases: int,
    members: int,
    seed: int,
    work: Path,
    *,
    checkpoint: str,
    data: Path | None,
    cluster: SlurmHere | None = None,
) -> Trial:
    """Disturb cohorts until so many kills have happened."""
    found = data or make_data(work / "data", cases)
    words = [sys.executable, "-m", "napari_diffseg", "predict", str(found), "--checkpoint", checkpoint]
    words += ["--device", "cpu", "--members", str(members), "--reproducible"]
    calm = work / "undisturbed"
    subprocess.run([*words, "--out", str(calm)], check=True, capture_output=True)
    expected = {row.name: row.last.result for row in CohortFolder(calm).table() if row.last is not None}
    trial = Trial(words, work, expected, random.Random(seed), cluster)
    while sum(trial.kills.values()) < kills:
        trial.disturb(kills)
    return trial


def main() -> int:
    """As the module says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--cases", type=int, default=6)
    parser.add_argument("--members", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--slurm", action="store_true")
    parser.add_argument("--checkpoint", default="demo")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    work = asked.work or Path(tempfile.mkdtemp(prefix="kill-cohorts-"))
    work.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with slurm_here(work / "slurm") if asked.slurm else nullcontext() as cluster:
        trial = run(
            asked.kills,
            asked.cases,
            asked.members,
            asked.seed,
            work,
            checkpoint=asked.checkpoint,
            data=asked.data,
            cluster=cluster,
        )
    result = {
        "slurm": asked.slurm,
        "machine": platform.platform(),
        "kills": dict(trial.kills),
        "cohorts": trial.cohorts,
        "commands": trial.commands,
        "cases": len(trial.expected),
        "members": asked.members,
        "lost": trial.lost,
        "doubled": trial.doubled,
        "wrong": trial.wrong,
        "hung": trial.hung,
        "seconds": round(time.monotonic() - began),
    }
    print(json.dumps(result, indent=2))
    if asked.out:
        asked.out.write_text(json.dumps(result, indent=2) + "\n", "utf-8")
    return int(any(result[key] for key in ("lost", "doubled", "wrong", "hung")))


if __name__ == "__main__":
    raise SystemExit(main())
