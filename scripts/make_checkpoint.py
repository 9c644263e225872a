"""Make the shipped checkpoint: `napari-diffseg train` with scripts/shipped.toml, its result put into the package.

    python scripts/make_checkpoint.py --work DIR [--stop-after STEP]

DIR is the run's folder, so the command may be stopped and given again; it goes on where it was. No patient is involved.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import platform
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path

import torch

from napari_diffseg.cli import main as napari_diffseg

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ROOT / "scripts/shipped.toml"
TARGET = ROOT / "src/napari_diffseg/data/demo.safetensors"
RESULT = ROOT / "benchmarks/results/make_checkpoint.json"


def main() -> int:
    """Train, put the last weights into the package, and write down what it took."""
    options = _options()
    words = ["train", "--data", "phantoms", "--config", str(options.config), "--out", str(options.work)]
    words += ["--workers", str(options.workers)]
    words += ["--resume"] if (options.work / "config.toml").exists() else []
    words += ["--stop-after", str(options.stop_after)] if options.stop_after else []
    if code := napari_diffseg(words):
        return code
    shutil.copyfile(options.work / "last.safetensors", options.out)
    record = _record(options)
    options.result.write_text(json.dumps(record, indent=1) + "\n")
    print(f"{options.out}: {options.out.stat().st_size / 1e6:.1f} MB, sha256 {record['sha256']}")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder of the run; gone on with when given again")
    parser.add_argument("--stop-after", type=int, help="stop after this step of the schedule")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--config", type=Path, default=CONFIG)
    parser.add_argument("--out", type=Path, default=TARGET)
    parser.add_argument("--result", type=Path, default=RESULT)
    return parser.parse_args()


def _record(options: argparse.Namespace) -> dict[str, object]:
    with (options.work / "log.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["loss"]]
    every = int(rows[0]["step"])
    return {
        "command": "python scripts/make_checkpoint.py --work DIR"
        + (f" --stop-after {options.stop_after}" if options.stop_after else ""),
        "date": datetime.now(UTC).date().isoformat(),
        "device": f"{os.cpu_count()} cores, {platform.machine()}",
        "torch": torch.__version__,
        "hours": round(sum(float(row["seconds_a_step"]) for row in rows) * every / 3600, 2),
        "sha256": hashlib.sha256(options.out.read_bytes()).hexdigest(),
        "loss": [[int(row["step"]), round(float(row["loss"]), 4)] for row in rows[::5]],
    }


if __name__ == "__main__":
    sys.exit(main())
