"""What each choice of preset `default` is worth: the same short training with one of them changed.

    python benchmarks/ablation.py [--steps 600] [--phantoms 160] [--only default,v] [--work DIR]

Small networks on slices of 4 mm, so that all of it takes an hour on two cores: the order of the rows is meant, not
the height of their figures. Every variant is trained by `napari_diffseg.training` and validated on the same held-out
phantoms by its ensemble. `default` is trained with several seeds, whose spread says which differences mean nothing.
Runs are kept in `--work`; a command that was stopped goes on where it was. Writes `benchmarks/results/ablation.json`;
with `--resume` the rows that it has of an earlier command with the same settings stay, and are not trained again.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch
from cells import RESULTS, WORK, write_record

from napari_diffseg.checkpoint import load_checkpoint
from napari_diffseg.training.config import NetworkSettings, TrainingConfig, ValidationSettings
from napari_diffseg.training.draw import PhantomSource
from napari_diffseg.training.prepare import LAST, POOL
from napari_diffseg.training.presets import preset
from napari_diffseg.training.run import train
from napari_diffseg.training.validate import summary, validate_case

if TYPE_CHECKING:
    from napari_diffseg.training.validate import Figures

Change = dict[str, dict[str, Any]]

SEEDS: Final = (1, 2, 3)
"""Of `default`; the first is that of all other variants."""
VARIANTS: Final[dict[str, Change]] = {
    "predicts v": {"recipe": {"prediction": "v"}},
    "predicts epsilon": {"recipe": {"prediction": "epsilon"}},
    "linear schedule": {"recipe": {"schedule": "linear"}},
    "masks of 0 and 1": {"recipe": {"mask_low": 0.0}},
    "without Dice": {"loss": {"dice_weight": 0.0}},
    "ten times the Dice": {"loss": {"dice_weight": 1.0}},
    "timesteps evenly": {"loss": {"noisiest": 1.0}},
    "half of the timesteps from the last 3 %": {"loss": {"noisiest": 0.03}},
    "without augmentation": {"augmentation": {"kind": "off"}},
    "percentile normalisation": {"recipe": {"normalisation": "percentile"}},
}
"""What is changed, by the name of the row."""


def main() -> None:
    """Train, validate, write; a row at a time."""
    options = _options()
    trials: list[tuple[str, int, Change]] = [("default", seed, {}) for seed in SEEDS]
    trials += [(name, SEEDS[0], change) for name, change in VARIANTS.items()]
    rows = _kept(options) if options.resume else {}
    for name, seed, change in trials:
        if (name, seed) in rows or (options.only and name not in options.only.split(",")):
            continue
        config = varied(change, seed=seed, steps=options.steps)
        began = time.monotonic()
        figures = _trained(config, options, name=f"{name}-{seed}")
        row = {"variant": name, "seed": seed, **{k: round(v, 4) for k, v in figures.columns().items()}}
        print(row, f"{time.monotonic() - began:.0f} s", flush=True)
        rows[name, seed] = row
        done = [rows[name, seed] for name, seed, _ in trials if (name, seed) in rows]
        _write(options, done, complete=len(done) == len(trials))


def varied(change: Change, *, seed: int, steps: int) -> TrainingConfig:
    """The small training with some values of its sections replaced."""
    base = preset("default")
    recipe = base.recipe.model_copy(update={"title": "Ablation", "size": (56, 48), "spacing_mm": 4.0})
    small = base.model_copy(
        update={
            "seed": seed,
            "recipe": recipe,
            "network": NetworkSettings(channel_mult=(1, 2, 3, 4)),
            "optimiser": base.optimiser.model_copy(update={"steps": steps, "ema": 0.995}),
            "validation": ValidationSettings(every=steps),
            "save_every": 200,
        }
    )
    sections = {name: getattr(small, name).model_copy(update=values) for name, values in change.items()}
    return TrainingConfig.model_validate(small.model_copy(update=sections).model_dump())


def _trained(config: TrainingConfig, options: argparse.Namespace, *, name: str) -> Figures:
    """Train, unless that is done, and validate on all held-out phantoms."""
    source = PhantomSource(config.recipe, phantoms=options.phantoms, held_out=options.held_out, seed=options.first)
    folder = options.work / f"{name.replace(' ', '-')}-{options.steps}"
    shared = options.work / f"pool-{config.recipe.normalisation}-{options.phantoms}"
    if shared.exists() and not folder.exists():
        shutil.copytree(shared, folder / POOL)
    train(
        folder,
        config,
        source,
        device="cpu",
        workers=options.workers,
        resume=(folder / "config.toml").exists(),
        tell=_say,
    )
    if not shared.exists():
        shutil.copytree(folder / POOL, shared)
    checkpoint = load_checkpoint(folder / LAST)
    settings = config.validation
    return summary(
        [validate_case(source.read(case), checkpoint, settings, device="cpu") for case in source.split().held_out]
    )


def _say(text: str) -> None:
    print(f"  {text}", flush=True)


def _kept(options: argparse.Namespace) -> dict[tuple[str, int], dict[str, Any]]:
    """Rows of the file that would be written, by variant and seed, where its settings are these."""
    if not (out := _out(options)).exists():
        return {}
    record = json.loads(out.read_text("utf-8"))
    same = all(record.get(name, value) == value for name, value in _settings(options).items())
    return {(row["variant"], row["seed"]): row for row in record["rows"]} if same else {}


def _write(options: argparse.Namespace, rows: list[dict[str, Any]], *, complete: bool) -> None:
    figures = _settings(options) | {"complete": complete, "rows": rows}
    write_record(_out(options), figures, checkpoint=None, device=torch.device("cpu"))


def _out(options: argparse.Namespace) -> Path:
    return options.out or RESULTS / "ablation.json"


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    """What all rows have in common, as it is written."""
    config = varied({}, seed=SEEDS[0], steps=options.steps)
    return {
        "steps": options.steps,
        "batch": config.optimiser.batch_size,
        "training_phantoms": options.phantoms,
        "first_phantom": options.first,
        "held_out_phantoms": options.held_out,
        "members": config.validation.members,
        "size": list(config.recipe.size),
        "spacing_mm": config.recipe.spacing_mm,
    }


def _options() -> argparse.Namespace:
    p = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    p.add_argument("--steps", type=int, default=600)
    p.add_argument("--phantoms", type=int, default=160)
    p.add_argument("--held-out", type=int, default=12)
    p.add_argument("--first", type=int, default=20_000, help="seed of the first phantom")
    p.add_argument("--only", default="", help="variants, by the names of the rows")
    p.add_argument("--workers", type=int, default=2)
    p.add_argument("--resume", action="store_true", help="keep the rows that are written already")
    p.add_argument("--work", type=Path, default=WORK / "ablation")
    p.add_argument("--out", type=Path)
    return p.parse_args()


if __name__ == "__main__":
    main()
