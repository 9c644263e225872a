"""What masks that are decided early save, and what they change: whole runs with all steps and without, side by side.

    python benchmarks/early_stop.py [--cases DIR ...] [--phantoms healthy glioma ms] [--members 5]

Runs the shipped case, phantoms of each kind, and the case folders DIR, twice each, all slices, with `stop_early` off
and on. Times are of the processor, so that whatever else the machine does counts little. Writes
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
from held_out import phantom_case

from napari_diffseg import Ensemble, LocalSegmenter, SegmentRequest, demo_case_folder, load_checkpoint, read_case
from napari_diffseg.ensemble.dice import dice
from napari_diffseg.events import Finished, Started
from napari_diffseg.segmenting.device.choose_device import resolve_device
from napari_diffseg.synthesis.phantom import PhantomSettings, make_phantom

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_diffseg.imaging.case import Case
    from napari_diffseg.synthesis.settings import PhantomKind

_PHANTOM_SEED = 940_000


def main() -> None:
    """Run, compare, write after each case."""
    asked = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    asked.add_argument("--checkpoint", default="demo", help="a file, or `demo` for the shipped one")
    asked.add_argument("--device", default="auto")
    asked.add_argument("--precision", choices=("auto", "fp32", "bf16"), default="auto")
    asked.add_argument("--out", type=Path, help="the JSON to write; by default in benchmarks/results")
    asked.add_argument("--cases", type=Path, nargs="*", default=[], help="folders of one real case each")
    asked.add_argument("--phantoms", nargs="*", default=["healthy", "glioma", "ms"], help="kinds (default %(default)s)")
    asked.add_argument("--members", type=int, default=5)
    options = asked.parse_args()
    checkpoint = load_checkpoint(options.checkpoint)
    segmenter = LocalSegmenter(checkpoint, preview_interval_s=None)
    rows: list[dict[str, Any]] = []
    for kind, case in _cases(options.cases, options.phantoms, checkpoint.recipe.modalities):
        request = SegmentRequest(members=options.members, device=options.device, precision=options.precision)
        runs = {mode: _run(segmenter, case, request, mode) for mode in ("off", "on")}
        rows.append({"case": kind} | _compared(runs["off"], runs["on"], case))
        print(json.dumps(rows[-1]), flush=True)
        figures = {"members": options.members, "rows": rows}
        device = resolve_device(options.device)
        write_record(options.out or RESULTS / "early_stop.json", figures, checkpoint=checkpoint, device=device)


def _cases(folders: list[Path], kinds: list[PhantomKind], modalities: tuple[str, ...]) -> Iterator[tuple[str, Case]]:
    yield "shipped", read_case(demo_case_folder(), modalities=modalities)
    for kind in kinds:
        settings = PhantomSettings(seed=_PHANTOM_SEED, kind=kind, shape=(120, 120, 78), spacing_mm=(2.0, 2.0, 2.0))
        yield f"phantom, {kind}", phantom_case(make_phantom(settings), kind)
    for folder in folders:
        yield "real", read_case(folder, modalities=modalities)


def _run(segmenter: LocalSegmenter, case: Case, request: SegmentRequest, mode: str) -> dict[str, Any]:
    began = time.process_time()
    events = list(segmenter.segment(case, request.model_copy(update={"stop_early": mode})))
    seconds = time.process_time() - began
    started, finished = events[0], events[-1]
    assert isinstance(started, Started)
    assert isinstance(finished, Finished)
    left_out = [count / max(started.evaluations, 1) for count in (finished.unneeded, finished.unneeded_empty)]
    return {"ensemble": Ensemble.from_events(events), "seconds": seconds, "left_out": left_out}


def _compared(full: dict[str, Any], early: dict[str, Any], case: Case) -> dict[str, Any]:
    a, b = full["ensemble"], early["ensemble"]
    of_all = sum(int(a.member(k).sum()) for k in a.members)
    differ = sum(int((a.member(k) ^ b.member(k)).sum()) for k in a.members)
    masks = [e.consensus().any(axis=0) for e in (a, b)]
    mean, variance = ([getattr(e, name)() for e in (a, b)] for name in ("mean", "variance"))
    row = {
        "cpu_seconds": {"all steps": round(full["seconds"], 1), "early": round(early["seconds"], 1)},
        "times_faster": round(full["seconds"] / early["seconds"], 2),
        "steps_left_out": round(early["left_out"][0], 3),
        "where_no_lesion_was_expected": round(early["left_out"][1], 3),
        "consensus_dice": round(float(dice(*masks)), 5),
        "consensus_voxels": int(masks[0].sum()),
        "consensus_voxels_that_differ": int((masks[0] ^ masks[1]).sum()),
        "member_voxels": of_all,
        "member_voxels_that_differ": differ,
        "mean_voxels_that_differ": int((mean[0] != mean[1]).sum()),
        "largest_mean_difference": round(float(np.abs(mean[0] - mean[1]).max()), 3),
        "variance_voxels_that_differ": int((variance[0] != variance[1]).sum()),
        "sum_of_mean": [round(float(m.sum()), 1) for m in mean],
        "sum_of_variance": [round(float(v.sum()), 1) for v in variance],
    }
    if case.reference is not None:
        truth = np.asarray(case.reference.data) > 0
        names = ("all steps", "early")
        row["dice_to_truth"] = {name: round(float(dice(m, truth)), 4) for name, m in zip(names, masks, strict=True)}
    return row


if __name__ == "__main__":
    main()
