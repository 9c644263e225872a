"""What masks that are decided early save, and what they change: whole runs with all steps and without, side by side.

    python benchmarks/early_stop.py [--cases DIR] [--members 5]

Runs the shipped case, and the case folders in DIR, twice each, all slices, with `stop_early` off and on. Writes
`benchmarks/results/early_stop.json`: figures only, no image and no mask.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from cells import RESULTS, write_record

from napari_diffseg import Ensemble, LocalSegmenter, SegmentRequest, demo_case_folder, load_checkpoint, read_case
from napari_diffseg.ensemble.dice import dice
from napari_diffseg.events import Finished, Started
from napari_diffseg.imaging.case_files import find_case_files
from napari_diffseg.segmenting.device.choose_device import resolve_device

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_diffseg.imaging.case import Case


def main() -> None:
    """Run, compare, write after each case."""
    asked = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    asked.add_argument("--checkpoint", default="demo", help="a file, or `demo` for the shipped one")
    asked.add_argument("--device", default="auto")
    asked.add_argument("--precision", choices=("auto", "fp32", "bf16"), default="auto")
    asked.add_argument("--out", type=Path, help="the JSON to write; by default in benchmarks/results")
    asked.add_argument("--cases", type=Path, help="a folder of real cases, read where they are")
    asked.add_argument("--members", type=int, default=5)
    options = asked.parse_args()
    checkpoint = load_checkpoint(options.checkpoint)
    segmenter = LocalSegmenter(checkpoint, preview_interval_s=None)
    rows: list[dict[str, Any]] = []
    for kind, case in _cases(options.cases, checkpoint.recipe.modalities):
        request = SegmentRequest(members=options.members, device=options.device, precision=options.precision)
        runs = {mode: _run(segmenter, case, request, mode) for mode in ("off", "on")}
        rows.append({"case": kind} | _compared(runs["off"], runs["on"], case))
        print(json.dumps(rows[-1]), flush=True)
        figures = {"members": options.members, "rows": rows}
        device = resolve_device(options.device)
        write_record(options.out or RESULTS / "early_stop.json", figures, checkpoint=checkpoint, device=device)


def _cases(folder: Path | None, modalities: tuple[str, ...]) -> Iterator[tuple[str, Case]]:
    yield "shipped", read_case(demo_case_folder(), modalities=modalities)
    for one in sorted(folder.iterdir()) if folder is not None else ():
        if one.is_dir() and find_case_files(one, modalities=modalities):
            yield "real", read_case(one, modalities=modalities)


def _run(segmenter: LocalSegmenter, case: Case, request: SegmentRequest, mode: str) -> dict[str, Any]:
    began = time.perf_counter()
    events = list(segmenter.segment(case, request.model_copy(update={"stop_early": mode})))
    seconds = time.perf_counter() - began
    started, finished = events[0], events[-1]
    assert isinstance(started, Started)
    assert isinstance(finished, Finished)
    unneeded = finished.unneeded / max(started.evaluations, 1)
    return {"ensemble": Ensemble.from_events(events), "seconds": seconds, "unneeded": unneeded}


def _compared(full: dict[str, Any], early: dict[str, Any], case: Case) -> dict[str, Any]:
    a, b = full["ensemble"], early["ensemble"]
    of_all = sum(int(a.member(k).sum()) for k in a.members)
    differ = sum(int((a.member(k) ^ b.member(k)).sum()) for k in a.members)
    masks = [e.consensus().any(axis=0) for e in (a, b)]
    row = {
        "seconds": {"all steps": round(full["seconds"], 1), "early": round(early["seconds"], 1)},
        "times_faster": round(full["seconds"] / early["seconds"], 2),
        "steps_not_needed": round(early["unneeded"], 3),
        "consensus_dice": round(float(dice(*masks)), 5),
        "member_voxels_that_differ": round(differ / max(of_all, 1), 5),
        "mean_voxels_that_differ": int((a.mean() != b.mean()).sum()),
        "largest_mean_difference": round(float(np.abs(a.mean() - b.mean()).max()), 3),
    }
    if case.reference is not None:
        truth = np.asarray(case.reference.data) > 0
        names = ("all steps", "early")
        row["dice_to_truth"] = {name: round(float(dice(m, truth)), 4) for name, m in zip(names, masks, strict=True)}
    return row


if __name__ == "__main__":
    main()
