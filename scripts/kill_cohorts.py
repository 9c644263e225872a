"""Kill workers and commands of cohorts at random moments, give the command again, compare with an undisturbed run.

    python scripts/kill_cohorts.py --kills 50 [--cases 6] [--members 12] [--seed 0] [--work FOLDER] [--out RESULT.json]

Every cohort must come to its end, with the same bytes as the undisturbed one, and no case done twice.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from napari_diffseg.cohorts.cohort_folder import CohortFolder
from napari_diffseg.cohorts.standing import Standing

if TYPE_CHECKING:
    from napari_diffseg.cohorts.attempts import Attempt

_HANG_S = 300.0
_BY_COMMAND = 0.3
"""Share of kills that hit the command and not a worker."""


@dataclass
class Trial:
    """Cohorts that are disturbed, and what came of it."""

    words: list[str]
    work: Path
    expected: dict[str, str]
    random: random.Random
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
        log = (self.work / "commands.log").open("ab")
        with log:
            return subprocess.Popen([*self.words, "--out", str(out), "--jobs", "2"], stdout=log, stderr=log)

    def _strike(self, command: subprocess.Popen[bytes], out: Path) -> bool:
        """Kill workers until the command is killed or ends; whether it came to its end."""
        began = time.monotonic()
        while time.monotonic() - began < _HANG_S:
            try:
                command.wait(self.random.uniform(0.2, 3.0))
            except subprocess.TimeoutExpired:
                pass
            else:
                return True
            workers = _workers(command.pid)
            if not workers or not _is_at_work(out):
                continue
            if self.random.random() < _BY_COMMAND:
                command.kill()
                command.wait()
                self.kills["command"] += 1
                return False
            _kill(self.random.choice(workers))
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


def _workers(pid: int) -> list[psutil.Process]:
    try:
        return [child for child in psutil.Process(pid).children() if "napari_diffseg.cohorts.worker" in child.cmdline()]
    except psutil.Error:
        return []


def _is_at_work(out: Path) -> bool:
    """Whether a worker has a case just now, so that a kill hits something."""
    folder = CohortFolder(out)
    last: list[Attempt] = [attempts[-1] for attempts in folder.attempts.of_all().values()]
    return any(folder.attempts.is_running(attempt) for attempt in last)


def _kill(process: psutil.Process) -> None:
    try:
        process.kill()
    except psutil.Error:
        return


def make_data(folder: Path, cases: int) -> Path:
    """Phantoms of a few voxels, one a folder."""
    from napari_diffseg.cli import main

    for k in range(cases):
        if not (folder / f"p{k}").is_dir():
            main(["phantom", "--out", str(folder / f"p{k}"), "--seed", str(k), "--spacing-mm", "8"])
    return folder


def run(kills: int, cases: int, members: int, seed: int, work: Path, *, checkpoint: str, data: Path | None) -> Trial:
    """Disturb cohorts until so many kills have happened."""
    found = data or make_data(work / "data", cases)
    words = [sys.executable, "-m", "napari_diffseg", "predict", str(found), "--checkpoint", checkpoint]
    words += ["--device", "cpu", "--members", str(members), "--reproducible"]
    calm = work / "undisturbed"
    subprocess.run([*words, "--out", str(calm)], check=True, capture_output=True)
    expected = {row.name: row.last.result for row in CohortFolder(calm).table() if row.last is not None}
    trial = Trial(words, work, expected, random.Random(seed))
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
    parser.add_argument("--checkpoint", default="demo")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    work = asked.work or Path(tempfile.mkdtemp(prefix="kill-cohorts-"))
    work.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    trial = run(asked.kills, asked.cases, asked.members, asked.seed, work, checkpoint=asked.checkpoint, data=asked.data)
    result = {
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
