"""The present build beside an earlier one, in one run.

    python benchmarks/compare_builds.py [--build 7565803] [--rounds 3] [--parts start,network,runs,whole]

Checks the earlier build out in a temporary work tree and runs both with the same Python and packages, by turns, so
that whatever else the machine does hits both alike: start-up and the network by each build's own `startup.py` and
`speed.py`, runs of the shipped case, and (`whole`) five members of a phantom of 240 x 240 x 155 voxels, warm. Gives
medians over the rounds and the ratio earlier / present: above 1 is faster now; of runs also by the processor's time, of
all threads, which a busy machine changes less. Writes
`benchmarks/results/compare_builds.json`, on a GPU `compare_builds_gpu.json`.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cells import RESULTS, others_load, write_record
from options import parser

from napari_diffseg.checkpoint import load_checkpoint, resolve_checkpoint
from napari_diffseg.segmenting.device.choose_device import resolve_device

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

HERE: Final = Path(__file__).resolve().parents[1]

_RUNS: Final = """
import json, sys, time
import numpy as np
from napari_diffseg.checkpoint import load_checkpoint, resolve_checkpoint
from napari_diffseg.events import SegmentRequest, Stepped
from napari_diffseg.imaging.case import read_case
from napari_diffseg.segmenting.segmenter import LocalSegmenter
sys.path.insert(0, "benchmarks")
from held_out import phantom_case
from napari_diffseg.synthesis.phantom import PhantomSettings, make_phantom

device, whole = sys.argv[1], sys.argv[2] == "whole"
engine = LocalSegmenter(load_checkpoint(resolve_checkpoint("demo")), preview_interval_s=0)
shipped = read_case("src/napari_diffseg/data/demo_case")
middle = int(np.argmax((shipped.reference.data > 0).sum(axis=(0, 1))))
one = {"device": device, "focus": middle, "slices": f"{middle}:{middle + 1}", "members": 5}
taken = {}

def run(name, case, settings):
    began, computed = time.perf_counter(), time.process_time()
    for event in engine.segment(case, SegmentRequest(**settings)):
        if isinstance(event, Stepped) and event.preview is not None:
            taken.setdefault(name + ": first preview", (time.perf_counter() - began, None))
    taken[name] = time.perf_counter() - began, time.process_time() - computed

run("load", shipped, one)
if whole:
    size = PhantomSettings(seed=920_000, shape=(240, 240, 155), spacing_mm=(1.0, 1.0, 1.0))
    volume = phantom_case(make_phantom(size), "whole")
    if device != "cpu":
        run("load", volume, {"device": device})
    run("five members, 240 x 240 x 155", volume, {"device": device})
else:
    run("five members, one slice", shipped, one)
    run("five members of 100 steps, one slice", shipped, one | {"timesteps": 100})
    run("five members, shipped volume", shipped, {"device": device, "focus": middle})
print(json.dumps({name: spent for name, spent in taken.items() if not name.startswith("load")}))
"""


class Spent(NamedTuple):
    """Seconds that something took, and those of the processor where they were measured."""

    seconds: float
    processor: float | None = None


def main() -> None:
    """Measure and write."""
    options = _options()
    device = resolve_device(options.device)
    parts = options.parts.split(",")
    taken: dict[str, dict[str, list[Spent]]] = {"earlier": defaultdict(list), "present": defaultdict(list)}
    with _worktree(options.build) as tree:
        for _ in range(options.rounds):
            for part in parts:
                for build, root in {"earlier": tree, "present": HERE}.items():
                    for name, spent in _measured(part, root, str(device)).items():
                        taken[build][name].append(spent)
    rows = [_row(name, taken["earlier"][name], taken["present"][name]) for name in taken["present"]]
    figures = {"earlier": options.build, "present": _revision(), "rounds": options.rounds, "busy": others_load()}
    name = "compare_builds.json" if device.type == "cpu" else "compare_builds_gpu.json"
    checkpoint = load_checkpoint(resolve_checkpoint("demo"))
    write_record(options.out or RESULTS / name, figures | {"rows": rows}, checkpoint=checkpoint, device=device)
    print(json.dumps(rows, indent=1))


def _options() -> argparse.Namespace:
    p = parser(__doc__)
    p.add_argument("--build", default="7565803", help="a commit of this repository (default %(default)s)")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--parts", default="start,network,runs,whole", help="which, with commas (default all)")
    return p.parse_args()


@contextmanager
def _worktree(build: str) -> Iterator[Path]:
    """The files of that commit, for as long as they are needed."""
    git = ["git", "-C", str(HERE), "worktree"]
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / build
        subprocess.run([*git, "add", "--detach", "--quiet", str(tree), build], check=True)
        try:
            yield tree
        finally:
            subprocess.run([*git, "remove", "--force", str(tree)], check=True)


def _revision() -> str:
    done = subprocess.run(
        ["git", "-C", str(HERE), "describe", "--always", "--dirty"], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def _measured(part: str, root: Path, device: str) -> dict[str, Spent]:
    """What was spent, by name, in one fresh process."""
    match part:
        case "start":
            start = _own_benchmark(root, "startup.py", "--repeats", "3")["start_s"]
            return {f"start: {name}": Spent(seconds) for name, seconds in start.items()}
        case "network":
            found = _own_benchmark(
                root, "speed.py", "--networks", "demo", "--rounds", "5", "--batches", "1,8", "--device", device
            )
            rows = found["networks"][0]["engine"]
            return {
                f"shipped network, {row['batch']} rows, one step a row": Spent(row["ms_a_member_step"] / 1e3)
                for row in rows
            }
        case "runs" | "whole":
            spent = json.loads(_run(root, "-c", _RUNS, device, part).splitlines()[-1])
            return {name: Spent(*both) for name, both in spent.items()}
        case _:
            raise SystemExit(f"{part}: not a part; the parts are start, network, runs and whole.")


def _own_benchmark(root: Path, script: str, *arguments: str) -> dict[str, Any]:
    """What a build's own benchmark writes."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "figures.json"
        _run(root, f"benchmarks/{script}", *arguments, "--out", str(out))
        return dict(json.loads(out.read_text()))


def _run(root: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        check=True,
        capture_output=True,
        text=True,
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(root / "src")},
    )
    return done.stdout


def _row(name: str, earlier: list[Spent], present: list[Spent]) -> dict[str, object]:
    """Medians in seconds, and how many times faster the present build is; None where only one has it."""
    before, now = (_median([spent.seconds for spent in spents]) for spents in (earlier, present))
    computed = [_median([s.processor for s in spents if s.processor is not None]) for spents in (earlier, present)]
    return {
        "what": name,
        "earlier_s": _rounded(before),
        "present_s": _rounded(now),
        "ratio": _ratio(before, now),
        "processor_ratio": _ratio(*computed),
    }


def _median(values: list[float]) -> float | None:
    return statistics.median(values) if values else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _ratio(before: float | None, now: float | None) -> float | None:
    return None if before is None or not now else round(before / now, 3)


if __name__ == "__main__":
    main()
