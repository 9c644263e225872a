"""How cohorts scale: measured with one and two single-thread processes, simulated for 1 to 1,000 workers.

    python benchmarks/cohorts.py --data DATA --checkpoint FILE [--members 5] [--repeats 2] [--cases 2000]
    python benchmarks/cohorts.py --runs FOLDER          # of cohorts that were made so before: 0-1, 0-2, 1-1, ...

Measured are the seconds of a cohort with `--jobs 1` and `--jobs 2`, in turns, what a claim and the list of attempts
cost on this disk, and the bytes that the shipped case and checkpoint, and members, take to another computer and back.
The simulation draws from the measured seconds of cases, start of a worker, costs of the disk, on which all claims queue
up, and bytes; a network disk is taken to be slower by a factor. In the simulation of engines on other computers (one
command for each with `--compute`) all images leave by the one link of the computer that has them.
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
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from napari_diffseg import demo_case_folder, read_case
from napari_diffseg.checkpoint.resolve import resolve_checkpoint
from napari_diffseg.cohorts.attempts import Attempts
from napari_diffseg.cohorts.case_list import ListedCase
from napari_diffseg.cohorts.cohort_folder import CohortFolder
from napari_diffseg.cohorts.who import this_process
from napari_diffseg.imaging.formats.nifti import read_mask
from napari_diffseg.remote.arrays import by_place, compress, pack
from napari_diffseg.remote.contents import checkpoint_files, describe_case

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_diffseg.remote.contents import Content

WORKERS: Final = (1, 2, 4, 8, 16, 32, 64, 125, 250, 500, 1000)
NETWORK_FACTOR: Final = 20.0
LINKS_MBIT: Final = (1000, 100)


@dataclass(frozen=True, slots=True)
class Costs:
    """Seconds: a worker's start, each case that was measured, a claim with its end, an attempt in a list."""

    start: float
    cases: tuple[float, ...]
    claim: float
    entry: float


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes on their way: a case's images and a checkpoint to an engine, a case's members back."""

    case: int
    checkpoint: int
    members: int


def make_run(words: list[str], jobs: int, folder: Path) -> None:
    """Segment a cohort."""
    subprocess.run([*words, "--out", str(folder), "--jobs", str(jobs)], check=True, capture_output=True)


def measured_run(folder: Path) -> tuple[float, list[float], float]:
    """Seconds from the first worker's start to the table of a cohort, of each case, and to the first claim."""
    rows = [row.last for row in CohortFolder(folder).table() if row.last is not None]
    began = min(path.stat().st_mtime for path in (folder / ".cohort" / "launches").iterdir())
    ended = [path.stat().st_mtime for path in (folder / ".cohort" / "attempts").iterdir()]
    claimed = min(
        end - row.seconds for end, row in zip(sorted(ended), sorted(rows, key=lambda r: r.ended), strict=True)
    )
    return (folder / "cohort.csv").stat().st_mtime - began, [row.seconds for row in rows], max(0.1, claimed - began)


def message_sizes(run: Path) -> Sizes:
    """Bytes of the shipped case and checkpoint, and of the members of a run, as they cross a link."""
    _, images = describe_case(read_case(demo_case_folder()))
    members = [read_mask(path).data > 0 for path in sorted((run / "members").iterdir())]
    checkpoint = checkpoint_files(resolve_checkpoint("demo")).contents
    return Sizes(_crossing(images), _crossing(checkpoint), sum(len(pack(mask)[1]) for mask in members))


def _crossing(contents: Iterable[Content]) -> int:
    return sum(len(compress(by_place(piece, c.width))) for c in contents for piece in c.pieces())


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


def simulate(
    workers: int,
    cases: int,
    costs: Costs,
    *,
    disk_factor: float,
    case_factor: float,
    seconds_of_link: tuple[float, float] = (0.0, 0.0),
    seed: int = 0,
) -> float:
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
    seconds_of_link : (float, float)
        For which a case, and a worker's checkpoint at its start, take the link that all share.
    seed : int
        Of the draws.
    """
    draws = random.Random(seed)
    free: list[float] = [costs.start + (k + 1) * seconds_of_link[1] for k in range(workers)]
    disk, link, end = 0.0, 0.0, 0.0
    for done in range(cases):
        at = heapq.heappop(free)
        disk = max(disk, at) + disk_factor * (costs.claim + costs.entry * done)
        link = max(link, disk) + seconds_of_link[0]
        over = link + case_factor * draws.choice(costs.cases)
        end = max(end, over)
        heapq.heappush(free, over)
    return end


def scaling(costs: Costs, cases: int, **how: Any) -> list[dict[str, float]]:
    """Seconds, speed-up and efficiency for each number of workers; `how` as `simulate` takes it."""
    alone = simulate(1, cases, costs, **how)
    rows = []
    for workers in WORKERS:
        seconds = simulate(workers, cases, costs, **how)
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
    made = parser.add_mutually_exclusive_group(required=True)
    made.add_argument("--data", type=Path)
    made.add_argument("--runs", type=Path)
    parser.add_argument("--checkpoint")
    parser.add_argument("--members", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--case-seconds", type=float, default=60.0, help="of a case in the simulation, on average")
    parser.add_argument("--case-mb", type=float, help="of a case's images on the link; by default the shipped case's")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "cohorts.json")
    asked = parser.parse_args()
    words = [sys.executable, "-m", "napari_diffseg", "predict", str(asked.data), "--checkpoint", asked.checkpoint]
    words += ["--members", str(asked.members), "--device", "cpu", "--threads", "1"]
    walls: dict[int, list[float]] = {1: [], 2: []}
    cases: dict[int, list[float]] = {1: [], 2: []}
    starts: list[float] = []
    with tempfile.TemporaryDirectory() as work:
        runs = asked.runs or Path(work)
        if asked.runs is None:
            for repeat in range(asked.repeats):
                for jobs in (1, 2):
                    make_run(words, jobs, runs / f"{repeat}-{jobs}")
        for folder in sorted(runs.glob("*-[12]")):
            jobs = int(folder.name[-1])
            wall, seconds, start = measured_run(folder)
            walls[jobs].append(wall)
            cases[jobs] += seconds
            starts.append(start)
        claim, entry = disk_costs(Path(work) / "disk")
        sizes = message_sizes(next(path.parent for path in sorted(runs.glob("*-1/*/run.json"))))
    sent = sizes.case if asked.case_mb is None else int(1e6 * asked.case_mb)
    costs = Costs(statistics.median(starts), tuple(cases[1]), claim, entry)
    factor = asked.case_seconds / statistics.mean(cases[1])
    result: dict[str, Any] = {
        "machine": platform.platform(),
        "cores": os.cpu_count(),
        "load_average_beside_the_disk": round(os.getloadavg()[0], 2),
        "seconds_of_cohort": {jobs: [round(s, 1) for s in seconds] for jobs, seconds in walls.items()},
        "seconds_of_case": {jobs: round(statistics.mean(seconds), 2) for jobs, seconds in cases.items()},
        "ratio_of_cohorts": round(min(walls[1]) / min(walls[2]), 2),
        "ratio_of_work": round(2 * statistics.mean(cases[1]) / statistics.mean(cases[2]), 2),
        "costs": {"start_s": round(costs.start, 2), "claim_s": round(claim, 5), "listed_attempt_s": round(entry, 7)},
        "bytes": asdict(sizes),
        "simulated": {
            "cases": asked.cases,
            "seconds_of_case": asked.case_seconds,
            "network_factor": NETWORK_FACTOR,
            "bytes_of_case": sent,
            "this_disk": scaling(costs, asked.cases, disk_factor=1.0, case_factor=factor),
            "network_disk": scaling(costs, asked.cases, disk_factor=NETWORK_FACTOR, case_factor=factor),
            "engines_behind_one_link": {
                f"{mbit}_Mbit_s": scaling(
                    costs,
                    asked.cases,
                    disk_factor=1.0,
                    case_factor=factor,
                    seconds_of_link=(sent * 8e-6 / mbit, sizes.checkpoint * 8e-6 / mbit),
                )
                for mbit in LINKS_MBIT
            },
        },
    }
    asked.out.write_text(json.dumps(result, indent=2) + "\n", "utf-8")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
