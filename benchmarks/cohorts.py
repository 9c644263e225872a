"""How cohorts scale: measured with one and two single-thread processes, simulated for 1 to 1,000 workers.

    python benchmarks/cohorts.py --data DATA --checkpoint FILE [--members 5] [--repeats 2] [--cases 2000]

Measured are the seconds of a cohort with `--jobs 1` and `--jobs 2`, in turns, and what a claim and the list of attempts
cost on this disk. The simulation draws from the measured seconds of cases, start of a worker and costs of the disk, on
which all claims queue up; a network disk is taken to be slower by a factor.
"""

from __future__ import annotations

import argparse
import heapq
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from napari_diffseg.cohorts.attempts import Attempts
from napari_diffseg.cohorts.case_list import ListedCase
from napari_diffseg.cohorts.cohort_folder import CohortFolder
from napari_diffseg.cohorts.who import this_process

WORKERS: Final = (1, 2, 4, 8, 16, 32, 64, 125, 250, 500, 1000)
NETWORK_FACTOR: Final = 20.0


@dataclass(frozen=True, slots=True)
class Costs:
    """Seconds: a worker's start, each case that was measured, a claim with its end, an attempt in a list."""

    start: float
    cases: tuple[float, ...]
    claim: float
    entry: float


def measured_run(words: list[str], jobs: int, folder: Path) -> tuple[float, list[float], float]:
    """Seconds of a whole cohort, of each case, and until the first case was claimed."""
    began, stamp = time.monotonic(), time.time()
    subprocess.run([*words, "--out", str(folder), "--jobs", str(jobs)], check=True, capture_output=True)
    seconds = time.monotonic() - began
    rows = [row.last for row in CohortFolder(folder).table() if row.last is not None]
    first = min(path.stat().st_ctime for path in (folder / ".cohort" / "launches").iterdir())
    logs = (folder / ".cohort" / "attempts").iterdir()
    ended = min(path.stat().st_mtime for path in logs)
    start = ended - min(row.seconds for row in rows) - first
    assert first >= stamp - 1
    return seconds, [row.seconds for row in rows], max(0.1, start)


def disk_costs(folder: Path, count: int = 300) -> tuple[float, float]:
    """Seconds of a claim with its end, and of one attempt in a list of ended ones that were read before."""
    attempts = Attempts(folder / "attempts")
    who = this_process()
    began = time.monotonic()
    for k in range(count):
        attempt = attempts.begin(ListedCase(name=f"case-{k:05d}", source="", folder=""), 1, who=who)
        assert attempt is not None
        attempts.end(attempt.model_copy(update={"outcome": "done"}))
    claim = (time.monotonic() - began) / count
    attempts.of_all()
    began = time.monotonic()
    for _ in range(5):
        attempts.of_all()
    return claim, (time.monotonic() - began) / 5 / count


def simulate(workers: int, cases: int, costs: Costs, *, disk_factor: float, case_factor: float, seed: int = 0) -> float:
    """Seconds until all cases are done.

    Parameters
    ----------
    workers, cases : int
        How many.
    costs : Costs
        As measured.
    disk_factor : float
        How much slower the disk is.
    case_factor : float
        How much longer a case takes.
    seed : int
        Of the draws.
    """
    draws = random.Random(seed)
    free: list[float] = [costs.start] * workers
    heapq.heapify(free)
    disk, end = 0.0, 0.0
    for done in range(cases):
        at = heapq.heappop(free)
        disk = max(disk, at) + disk_factor * (costs.claim + costs.entry * done)
        over = disk + case_factor * draws.choice(costs.cases)
        end = max(end, over)
        heapq.heappush(free, over)
    return end


def scaling(costs: Costs, cases: int, *, disk_factor: float, case_factor: float) -> list[dict[str, float]]:
    """Seconds, speed-up and efficiency for each number of workers."""
    alone = simulate(1, cases, costs, disk_factor=disk_factor, case_factor=case_factor)
    rows = []
    for workers in WORKERS:
        seconds = simulate(workers, cases, costs, disk_factor=disk_factor, case_factor=case_factor)
        rows.append(
            {
                "workers": workers,
                "seconds": round(seconds, 1),
                "speed_up": round(alone / seconds, 1),
                "efficiency": round(alone / seconds / workers, 3),
            }
        )
    return rows


def main() -> None:
    """As the module says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--members", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--case-seconds", type=float, default=60.0, help="of a case in the simulation, on average")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "cohorts.json")
    asked = parser.parse_args()
    words = [sys.executable, "-m", "napari_diffseg", "predict", str(asked.data), "--checkpoint", asked.checkpoint]
    words += ["--members", str(asked.members), "--device", "cpu", "--threads", "1"]
    walls: dict[int, list[float]] = {1: [], 2: []}
    cases: dict[int, list[float]] = {1: [], 2: []}
    starts: list[float] = []
    with tempfile.TemporaryDirectory() as work:
        for repeat in range(asked.repeats):
            for jobs in (1, 2):
                wall, seconds, start = measured_run(words, jobs, Path(work) / f"{repeat}-{jobs}")
                walls[jobs].append(wall)
                cases[jobs] += seconds
                starts.append(start)
        claim, entry = disk_costs(Path(work) / "disk")
    costs = Costs(statistics.median(starts), tuple(cases[1]), claim, entry)
    factor = asked.case_seconds / statistics.mean(cases[1])
    result: dict[str, Any] = {
        "machine": platform.platform(),
        "cores": os.cpu_count(),
        "load_average": round(os.getloadavg()[0], 2),
        "seconds_of_cohort": {jobs: [round(s, 1) for s in seconds] for jobs, seconds in walls.items()},
        "seconds_of_case": {jobs: round(statistics.mean(seconds), 2) for jobs, seconds in cases.items()},
        "ratio_of_cohorts": round(min(walls[1]) / min(walls[2]), 2),
        "ratio_of_work": round(2 * statistics.mean(cases[1]) / statistics.mean(cases[2]), 2),
        "costs": {"start_s": round(costs.start, 2), "claim_s": round(claim, 5), "listed_attempt_s": round(entry, 7)},
        "simulated": {
            "cases": asked.cases,
            "seconds_of_case": asked.case_seconds,
            "network_factor": NETWORK_FACTOR,
            "this_disk": scaling(costs, asked.cases, disk_factor=1.0, case_factor=factor),
            "network_disk": scaling(costs, asked.cases, disk_factor=NETWORK_FACTOR, case_factor=factor),
        },
    }
    asked.out.write_text(json.dumps(result, indent=2) + "\n", "utf-8")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
