"""What a person waits for.

    python benchmarks/speed_runs.py [--checkpoint demo] [--device auto] [--whole]

Times runs of the engine on the shipped case, warm: to the first preview, a member, an ensemble of one slice, the whole
volume. `--whole` adds five members of a phantom of 240 x 240 x 155 voxels, minutes on a processor. Writes
`benchmarks/results/speed_runs.json`, on a GPU `speed_runs_gpu.json`.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from cells import RESULTS, others_load, write_record
from held_out import phantom_case
from options import parser

from napari_diffseg.checkpoint import load_checkpoint, resolve_checkpoint
from napari_diffseg.events import Sampled, SegmentRequest, Started, Stepped
from napari_diffseg.imaging.case import read_case
from napari_diffseg.segmenting.device.choose_device import resolve_device
from napari_diffseg.segmenting.segmenter import LocalSegmenter
from napari_diffseg.synthesis.phantom import PhantomSettings, make_phantom

if TYPE_CHECKING:
    import argparse

    from napari_diffseg.imaging.case import Case

DEMO = Path(__file__).resolve().parents[1] / "src" / "napari_diffseg" / "data" / "demo_case"


def main() -> None:
    """Measure and write."""
    options = _options()
    checkpoint = load_checkpoint(resolve_checkpoint(options.checkpoint))
    device = resolve_device(options.device)
    segmenter = LocalSegmenter(checkpoint, preview_interval_s=0)
    case = read_case(DEMO)
    middle = int(np.argmax((case.reference.data > 0).sum(axis=(0, 1)))) if case.reference else case.shape[2] // 2
    common = {"device": options.device, "focus": middle}
    _run(segmenter, case, common | {"slices": f"{middle}:{middle + 1}", "members": 5})  # loads and warms up
    figures: dict[str, Any] = {
        "case": {"shape": list(case.shape), "sampled": 0},
        "waits": _waits(segmenter, case, common, middle, warm=device.type == "cuda"),
    }
    if options.whole:
        settings = PhantomSettings(seed=920_000, shape=(240, 240, 155), spacing_mm=(1.0, 1.0, 1.0))
        big = phantom_case(make_phantom(settings), "whole")
        figures["waits"]["five members, 240 x 240 x 155"] = _run(segmenter, big, {"device": options.device})
    figures["busy"] = others_load()
    figures["case"]["sampled"] = figures["waits"]["five members, shipped volume"]["slices"]
    name = "speed_runs.json" if device.type == "cpu" else "speed_runs_gpu.json"
    write_record(options.out or RESULTS / name, figures, checkpoint=checkpoint, device=device)
    print(json.dumps(figures, indent=1))


def _options() -> argparse.Namespace:
    p = parser(__doc__)
    p.add_argument("--whole", action="store_true")
    return p.parse_args()


def _run(segmenter: LocalSegmenter, case: Case, settings: dict[str, Any]) -> dict[str, Any]:
    """Seconds from the request to the first preview, the first member on a slice, the end."""
    began = time.perf_counter()
    times: dict[str, Any] = {}
    for event in segmenter.segment(case, SegmentRequest(**settings)):
        now = round(time.perf_counter() - began, 3)
        match event:
            case Started():
                times |= {"slices": len(event.sampled), "steps": event.timesteps, "precision": event.precision}
            case Stepped() if event.preview is not None:
                times.setdefault("first_preview_s", now)
            case Sampled():
                times.setdefault("first_member_s", now)
    return times | {"all_s": round(time.perf_counter() - began, 3)}


def _waits(segmenter: LocalSegmenter, case: Case, common: dict[str, Any], middle: int, *, warm: bool) -> dict[str, Any]:
    """Each wait; `warm`: each is done once before, as a GPU records every new batch size."""
    one = common | {"slices": f"{middle}:{middle + 1}"}
    settings = {
        "one evaluation (posterior mean), one slice": one | {"members": 1, "timesteps": 1},
        "five members, one slice": one | {"members": 5},
        "five members of 50 steps, one slice": one | {"members": 5, "timesteps": 50},
        "five members of 1000 steps, one slice": one | {"members": 5, "timesteps": 1000},
        "five members, shipped volume": common | {"members": 5},
    }
    waits = {}
    for name, asked in settings.items():
        if warm:
            _run(segmenter, case, asked)
        waits[name] = _run(segmenter, case, asked)
    return waits


if __name__ == "__main__":
    main()
