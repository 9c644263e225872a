"""Make the shipped checkpoint: `napari-diffseg train` in three parts, the last weights put into the package.

    python scripts/make_checkpoint.py --work DIR
    python scripts/make_checkpoint.py --weights FILE    # only the last step, with weights that are there

Each part fine-tunes the one before on fresh phantoms. DIR holds all runs, so the command may be stopped and given
again; it goes on where it was. No patient is involved. Last, the file gets what was decided about its use since.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path

import torch

from napari_diffseg.checkpoint import load_checkpoint, save_checkpoint
from napari_diffseg.cli import main as napari_diffseg
from napari_diffseg.recipe import make_recipe

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("shipped-1", "shipped-2", "shipped-3")
SHIPPED = {
    "rim_mm": 2.0,
    "smoothing_slices": 1.0,
    "refine_by": "flair",
    "rule": "probability",
    "stop_early": True,
    "second_plane": ("I", "L", "A"),
}
"""What the recipe says of the use and not of the training, chosen on real gliomas (docs/evaluation.md)."""
_SHOWN = {
    "rim in training": "all of the brain was shown; rim_mm was set afterwards",
    "planes in training": "axial slices alone; second_plane was set afterwards",
}
TARGET = ROOT / "src/napari_diffseg/data/demo.safetensors"
RESULT = ROOT / "benchmarks/results/make_checkpoint.json"


def main() -> int:
    """Train, put the last weights into the package, and write down what it took."""
    options = _options()
    if options.weights is not None:
        put_into_package(options.weights, options.out)
        return 0
    begun: Path | None = None
    for name in PARTS:
        if code := _train(name, options, begun=begun):
            return code
        begun = options.work / name / "last.safetensors"
    assert begun is not None
    put_into_package(begun, options.out)
    record = _record(options)
    options.result.write_text(json.dumps(record, indent=1) + "\n")
    print(f"{options.out}: {options.out.stat().st_size / 1e6:.1f} MB, sha256 {record['sha256']}")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    given = parser.add_mutually_exclusive_group(required=True)
    given.add_argument("--work", type=Path, help="folder of the runs; gone on with when given again")
    given.add_argument("--weights", type=Path, help="a checkpoint of the last part: no training")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, default=TARGET)
    parser.add_argument("--result", type=Path, default=RESULT)
    return parser.parse_args()


def put_into_package(trained: Path, out: Path) -> None:
    """Write the weights bit for bit, with the recipe as it is shipped."""
    loaded = load_checkpoint(trained)
    save_checkpoint(
        out,
        loaded.state,
        recipe=make_recipe(loaded.recipe.model_dump() | SHIPPED),
        config=loaded.config,
        card=dict(loaded.card) | _SHOWN,
        guesses=loaded.guesses,
        dtype="own",
        overwrite=True,
    )


def _train(name: str, options: argparse.Namespace, *, begun: Path | None) -> int:
    folder = options.work / name
    words = ["train", "--data", "phantoms", "--config", str(ROOT / "scripts" / f"{name}.toml"), "--out", str(folder)]
    words += ["--workers", str(options.workers)]
    words += ["--start-from", str(begun)] if begun is not None else []
    words += ["--resume"] if (folder / "config.toml").exists() else []
    return napari_diffseg(words)


def _record(options: argparse.Namespace) -> dict[str, object]:
    parts = {name: _rows(options.work / name) for name in PARTS}
    seconds = sum(float(row["seconds_a_step"]) * int(rows[0]["step"]) for rows in parts.values() for row in rows)
    return {
        "command": "python scripts/make_checkpoint.py --work DIR",
        "date": datetime.now(UTC).date().isoformat(),
        "device": f"{os.cpu_count()} cores, {platform.machine()}",
        "torch": torch.__version__,
        "hours": round(seconds / 3600, 2),
        "sha256": hashlib.sha256(options.out.read_bytes()).hexdigest(),
        "loss": {
            name: [[int(row["step"]), round(float(row["loss"]), 4)] for row in rows[::5]]
            for name, rows in parts.items()
        },
    }


def _rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "log.csv").open(newline="") as file:
        return [row for row in csv.DictReader(file) if row["loss"]]


if __name__ == "__main__":
    sys.exit(main())
