"""Make the shipped checkpoint: draw phantoms, train on their slices, write weights, recipe and model card.

    python scripts/make_checkpoint.py --work DIR

DIR keeps the slices and the training's state, so the command may be stopped and given again; it goes on where it was.
No patient is involved: every slice comes from `napari_diffseg.synthesis`.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from napari_diffseg.checkpoint import save_checkpoint
from napari_diffseg.diffusion.schedule import make_schedule
from napari_diffseg.networks.config import UNetConfig
from napari_diffseg.recipe import Recipe
from napari_diffseg.training.draw import make_pool
from napari_diffseg.training.loop import Trainer, TrainingSettings
from napari_diffseg.training.pool import Pool

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "src/napari_diffseg/data/demo.safetensors"
RESULTS = ROOT / "benchmarks/results"

CONFIG = UNetConfig(
    in_channels=5,
    model_channels=32,
    out_channels=1,
    num_res_blocks=1,
    attention_factors=(),
    channel_mult=(1, 1, 2, 3, 4),
    scale_shift_norm=True,
)
RECIPE = Recipe(
    title="Whole tumour, trained on phantoms only",
    modalities=("t1", "t1ce", "t2", "flair"),
    labels=("whole tumour",),
    size=(112, 96),
    spacing_mm=2.0,
    centre="brain",
    normalisation="zscore",
    mask_low=-1.0,
    mask_high=1.0,
    schedule="cosine",
    train_timesteps=1000,
    prediction="x0",
    variance="fixed_small",
    sampler="ddim",
    timesteps=10,
    licence="BSD-3-Clause",
)


def main() -> None:
    """Draw, train, write."""
    options = _options()
    options.work.mkdir(parents=True, exist_ok=True)
    pool = _pool(options)
    settings = TrainingSettings(steps=options.steps, batch_size=options.batch_size, seed=options.seed)
    trainer = Trainer(CONFIG, make_schedule(RECIPE.schedule, RECIPE.train_timesteps), pool, settings)
    state = options.work / "state.pt"
    if state.exists():
        trainer.resume(state)
        print(f"Going on after step {trainer.step}.", flush=True)
    log = _Log(options.work / "log.csv", settings.steps)
    trainer.train(state, log.report, until=options.stop_after)
    _write(trainer, options, log)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for slices and state; reused when given again")
    parser.add_argument("--phantoms", type=int, default=450)
    parser.add_argument("--steps", type=int, default=4500)
    parser.add_argument("--stop-after", type=int, help="stop after this step of a schedule made for --steps")
    parser.add_argument("--batch-size", type=int, default=12)
    parser.add_argument("--seed", type=int, default=1000, help="of the first phantom, and of the training")
    parser.add_argument("--out", type=Path, default=TARGET)
    return parser.parse_args()


def _pool(options: argparse.Namespace) -> Pool:
    path = options.work / f"pool-{options.seed}-{options.phantoms}.npz"
    if not path.exists():
        began = time.monotonic()
        pool = make_pool(RECIPE, phantoms=options.phantoms, seed=options.seed, workers=os.cpu_count() or 1)
        pool.save(path)
        seconds = time.monotonic() - began
        print(f"{len(pool.images)} slices of {options.phantoms} phantoms in {seconds:.0f} s", flush=True)
    return Pool.load(path)


class _Log:
    """Every twentieth step as a row of a table, and the time that is left on the screen."""

    def __init__(self, path: Path, steps: int) -> None:
        self.path, self.steps = path, steps
        self._recent: list[tuple[float, float]] = []

    def report(self, step: int, loss: float, seconds: float) -> None:
        self._recent.append((loss, seconds))
        if step % 20:
            return
        mean_loss, mean_seconds = (sum(v) / len(self._recent) for v in zip(*self._recent, strict=True))
        self._recent.clear()
        with self.path.open("a", newline="") as file:
            csv.writer(file).writerow([step, f"{mean_loss:.4f}", f"{mean_seconds:.3f}"])
        left = (self.steps - step) * mean_seconds / 60
        print(f"step {step}/{self.steps}  loss {mean_loss:.4f}  {left:.0f} min left", flush=True)


def _write(trainer: Trainer, options: argparse.Namespace, log: _Log) -> None:
    rows = [[float(cell) for cell in row] for row in csv.reader(log.path.open())]
    hours = sum(row[2] for row in rows) * 20 / 3600
    told = (
        f"{len(trainer.pool.images)} slices of {options.phantoms} synthetic brains (seeds {options.seed} to "
        f"{options.seed + options.phantoms - 1}), {trainer.step} steps of batch {options.batch_size} on a processor. "
        "No patient data."
    )
    recipe = RECIPE.model_copy(update={"trained_on": told})
    digest = save_checkpoint(
        options.out, trainer.average, recipe=recipe, config=CONFIG, dtype="float16", overwrite=True
    )
    record: dict[str, Any] = {
        "command": f"python scripts/make_checkpoint.py --work DIR --phantoms {options.phantoms} "
        f"--steps {options.steps} --batch-size {options.batch_size} --seed {options.seed}"
        + (f" --stop-after {options.stop_after}" if options.stop_after else ""),
        "date": datetime.now(UTC).date().isoformat(),
        "device": f"{os.cpu_count()} cores, {platform.machine()}",
        "torch": torch.__version__,
        "hours": round(hours, 2),
        "sha256": digest,
        "loss": [[int(step), loss] for step, loss, _ in rows[::5]],
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "make_checkpoint.json").write_text(json.dumps(record, indent=1) + "\n")
    print(f"{options.out}: {options.out.stat().st_size / 1e6:.1f} MB, sha256 {digest}")


if __name__ == "__main__":
    main()
