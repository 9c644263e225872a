"""Whole-tumour Dice of a checkpoint on real cases that it has never seen.

    python benchmarks/real_cases.py --cases DIR [--checkpoint demo] [--members 5] [--only case_006,case_012]

DIR holds one folder a case, with images and a `_seg` file. Prints a row a case and writes
`benchmarks/results/real_cases.json`: figures only, no image and no mask.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from napari_diffseg.checkpoint import load_checkpoint, resolve_checkpoint
from napari_diffseg.events import Sampled, SegmentRequest, Started
from napari_diffseg.imaging.case import read_case
from napari_diffseg.imaging.naming import find_case_files
from napari_diffseg.imaging.nifti import read_mask
from napari_diffseg.segmenting.ensemble import Ensemble
from napari_diffseg.segmenting.segmenter import LocalSegmenter

RESULTS = Path(__file__).resolve().parent / "results" / "real_cases.json"


def main() -> None:
    """Segment each case and compare."""
    options = _options()
    checkpoint = load_checkpoint(resolve_checkpoint(options.checkpoint))
    segmenter = LocalSegmenter(checkpoint, preview_interval_s=None)
    request = SegmentRequest(members=options.members, timesteps=options.timesteps, device=options.device)
    rows = []
    for folder in sorted(p for p in options.cases.iterdir() if p.is_dir()):
        if options.only and folder.name not in options.only.split(","):
            continue
        if "seg" not in find_case_files(folder):
            continue
        rows.append(_evaluate(folder, segmenter, request, checkpoint.recipe.modalities))
        print("{case}  Dice {dice:.3f}  single {single:.3f}  {seconds:.0f} s".format(**rows[-1]), flush=True)
    dice = [row["dice"] for row in rows]
    print(f"mean {np.mean(dice):.3f}  lowest {np.min(dice):.3f}  of {len(dice)} cases")
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(_record(options, checkpoint.digest, rows), indent=1) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=Path, required=True)
    parser.add_argument("--checkpoint", default="demo")
    parser.add_argument("--members", type=int, default=5)
    parser.add_argument("--timesteps", type=int)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--only", default="")
    return parser.parse_args()


def _evaluate(
    folder: Path, segmenter: LocalSegmenter, request: SegmentRequest, modalities: tuple[str, ...]
) -> dict[str, Any]:
    case = read_case(folder, modalities=modalities)
    truth = read_mask(find_case_files(folder)["seg"]).data > 0
    began = time.monotonic()
    for event in segmenter.segment(case, request):
        match event:
            case Started():
                ensemble = Ensemble.for_run(event)
            case Sampled():
                ensemble.add(event.member, event.slices, event.mask)
    single = [dice(ensemble.member(k)[0], truth) for k in ensemble.members]
    return {
        "case": folder.name,
        "dice": round(dice(ensemble.consensus()[0] > 0, truth), 4),
        "single": round(float(np.mean(single)), 4),
        "seconds": round(time.monotonic() - began, 1),
    }


def dice(a: np.ndarray, b: np.ndarray) -> float:
    """Dice of two binary masks; 1 where both are empty."""
    total = int(a.sum()) + int(b.sum())
    return 2 * int((a & b).sum()) / total if total else 1.0


def _record(options: argparse.Namespace, digest: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "command": f"python benchmarks/real_cases.py --cases DIR --checkpoint {options.checkpoint} "
        f"--members {options.members}" + (f" --timesteps {options.timesteps}" if options.timesteps else ""),
        "date": datetime.now(UTC).date().isoformat(),
        "device": f"{os.cpu_count()} cores, {platform.machine()}"
        if options.device in ("auto", "cpu")
        else options.device,
        "versions": {name: version(name) for name in ("napari-diffseg", "torch", "numpy")},
        "checkpoint": digest,
        "mean": round(float(np.mean([row["dice"] for row in rows])), 4),
        "cases": rows,
    }


if __name__ == "__main__":
    main()
