"""Dice, calibration and uncertainty of a checkpoint on real cases that it has never seen.

    python benchmarks/real_cases.py --cases DIR [--checkpoint demo] [--members 5] [--only case_006,case_012] [--resume]

DIR holds one folder a case, with images and a `_seg` file. Prints a row a case and writes
`benchmarks/results/real_cases.json` after each: figures only, no image and no mask. `--resume` keeps the rows of an
earlier command with the same settings. `--every 4` takes one slice in four, as of a scan with gaps between its slices;
`--work DIR` keeps the members, so that other ways to sum them up can be measured.
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
from typing import TYPE_CHECKING, Any

import numpy as np
from kept_members import ensemble_of
from scipy import ndimage

from napari_diffseg.checkpoint import load_checkpoint, resolve_checkpoint
from napari_diffseg.ensemble.dice import dice
from napari_diffseg.ensemble.lesions import NEIGHBOURS_26
from napari_diffseg.evaluation.metrics.calibration import reliability
from napari_diffseg.evaluation.metrics.distribution import dice_by_members
from napari_diffseg.evaluation.metrics.error_detection import auroc
from napari_diffseg.evaluation.metrics.region import brain_of_images
from napari_diffseg.events import SegmentRequest
from napari_diffseg.imaging.atomic import write_json
from napari_diffseg.imaging.case import Case, read_case
from napari_diffseg.imaging.case_files import find_case_files
from napari_diffseg.imaging.formats.nifti import read_mask
from napari_diffseg.imaging.volume import Volume
from napari_diffseg.segmenting.segmenter import LocalSegmenter

if TYPE_CHECKING:
    from napari_diffseg.checkpoint import Checkpoint
    from napari_diffseg.ensemble.ensemble import Ensemble

_SUMMED = ("dice", "auroc", "ece")
_EXPECTED = ("expected_dice", "expected_ece", "expected_auroc")
_MEANS = (*_SUMMED, *(f"unsmoothed_{name}" for name in _SUMMED), "single", *_EXPECTED)
_BEFORE = {"every": 1, "smoothing_slices": 1.0}
"""What held of records before they had a word of it."""
_THRESHOLDS, _REACHED = (0.4, 0.6), (0.7, 0.8, 0.9)
RESULTS = Path(__file__).resolve().parent / "results" / "real_cases.json"


def main() -> None:
    """Segment each case and compare."""
    options = _options()
    checkpoint = load_checkpoint(resolve_checkpoint(options.checkpoint))
    segmenter = LocalSegmenter(checkpoint, preview_interval_s=None)
    request = SegmentRequest(
        members=options.members, timesteps=options.timesteps, device=options.device, precision=options.precision
    )
    settings = _settings(options, checkpoint)
    folders = sorted(p for p in options.cases.iterdir() if p.is_dir())
    if options.only:
        folders = [p for p in folders if p.name in options.only.split(",")]
    earlier = _earlier(options.out, settings) if options.resume else []
    rows = [row for row in earlier if row["case"] in {p.name for p in folders}]
    for folder in folders:
        if "seg" not in find_case_files(folder) or folder.name in [row["case"] for row in rows]:
            continue
        rows.append(_evaluate(folder, segmenter, checkpoint, request, options))
        row = rows[-1]
        print(
            f"{row['case']}  Dice {row['dice']:.3f}  single {row['single']:.3f}  AUROC {row['auroc']}, "
            f"of the one-step estimate {row.get('expected_auroc', '-')}  "
            f"ECE {row['ece']:.4f}  {row['seconds']:.0f} s",
            flush=True,
        )
        _write(options, settings, rows)
    if not rows:
        raise SystemExit("No case was measured: --cases needs folders with images and a _seg file.")
    _write(options, settings, rows)
    dice = [row["dice"] for row in rows]
    print(f"mean {np.mean(dice):.3f}  lowest {np.min(dice):.3f}  of {len(dice)} cases")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=Path, required=True)
    parser.add_argument("--checkpoint", default="demo")
    parser.add_argument("--members", type=int, default=5)
    parser.add_argument("--timesteps", type=int)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", choices=("auto", "fp32", "bf16"), default="auto")
    parser.add_argument("--only", default="")
    parser.add_argument("--every", type=int, default=1, help="keep one slice in so many")
    parser.add_argument("--work", type=Path, help="where members are kept")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--out", type=Path, default=RESULTS)
    return parser.parse_args()


def _evaluate(
    folder: Path,
    segmenter: LocalSegmenter,
    checkpoint: Checkpoint,
    request: SegmentRequest,
    options: argparse.Namespace,
) -> dict[str, Any]:
    case = thinned(read_case(folder, modalities=checkpoint.recipe.modalities), options.every)
    truth = read_mask(find_case_files(folder)["seg"]).data[..., :: options.every] > 0
    began = time.monotonic()
    ensemble = ensemble_of(case, segmenter, checkpoint, request, folder=options.work)
    brain = brain_of_images(case).mask
    return {
        "case": folder.name,
        **_figures(ensemble, truth, brain),
        "other_masks": other_masks(ensemble.probability()[0], truth),
        **_expected_figures(ensemble, truth, brain),
        "seconds": round(time.monotonic() - began, 1),
    }


def thinned(case: Case, every: int) -> Case:
    """One slice of the last axis in so many, farther apart; the case itself where all are kept."""
    if every == 1:
        return case
    affine = case.affine.copy()
    affine[:3, 2] *= every
    volumes = {
        m: Volume(np.ascontiguousarray(v.data[..., ::every]), affine, None, None, ()) for m, v in case.volumes.items()
    }
    return Case(case.id, volumes, None)


def _figures(ensemble: Ensemble, truth: np.ndarray, brain: np.ndarray) -> dict[str, Any]:
    """Masks against the whole tumour; calibration and uncertainty within the brain."""
    members = np.stack([ensemble.member(k)[0] for k in ensemble.members])
    consensus = ensemble.probability()[0] > 0.5
    return {
        **_summed(consensus, ensemble.probability()[0], truth, brain),
        **_unsmoothed(members.mean(axis=0, dtype=np.float32), truth, brain),
        "single": round(float(np.mean([dice(m, truth) for m in members])), 4),
        "dice_by_members": [round(float(d), 4) for d in dice_by_members(members, truth)],
        "volume_ratio": round(float(consensus.sum() / max(1, truth.sum())), 3),
    }


def other_masks(p: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Dice of other masks of the same probability: another threshold, or connected components left out."""
    parts, count = ndimage.label(p > 0.5, structure=NEIGHBOURS_26)
    highest = np.concatenate([[0.0], np.atleast_1d(ndimage.maximum(p, parts, range(1, count + 1)))])
    largest = np.bincount(parts.ravel())[1:].argmax() + 1 if count else -1
    masks = {
        **{f"above {threshold:g}": p > threshold for threshold in _THRESHOLDS},
        **{f"components that reach {level:g} somewhere": (highest >= level)[parts] for level in _REACHED},
        "largest component": parts == largest,
    }
    return {name: round(dice(mask, truth), 4) for name, mask in masks.items()}


def _summed(mask: np.ndarray, mean: np.ndarray, truth: np.ndarray, brain: np.ndarray) -> dict[str, Any]:
    """Dice of the mask, and what the mean says of its errors and of the truth."""
    return {
        "dice": round(dice(mask, truth), 4),
        "auroc": _detected(mean, mask != truth, brain),
        "ece": round(reliability(mean[brain], truth[brain].astype(np.float32), bins=10).ece, 5),
    }


def _unsmoothed(share: np.ndarray, truth: np.ndarray, brain: np.ndarray) -> dict[str, Any]:
    """The same of votes that stand alone, voxel by voxel."""
    return {f"unsmoothed_{name}": value for name, value in _summed(share > 0.5, share, truth, brain).items()}


def _expected_figures(ensemble: Ensemble, truth: np.ndarray, brain: np.ndarray) -> dict[str, Any]:
    """The one-step estimate, of one evaluation: its own Dice and ECE; its uncertainty against the consensus' errors."""
    if ensemble.expected is None or not ensemble.expected.is_complete:
        return {}
    p = ensemble.expected.probability()[0]
    consensus = ensemble.probability()[0] > 0.5
    return {
        "expected_dice": round(dice(p > 0.5, truth), 4),
        "expected_ece": round(reliability(p[brain], truth[brain].astype(np.float32), bins=10).ece, 5),
        "expected_auroc": _detected(p, consensus != truth, brain),
    }


def _detected(probability: np.ndarray, wrong: np.ndarray, brain: np.ndarray) -> float | None:
    """AUROC of p (1 - p) for wrong voxels of the brain; None where there is none."""
    found = auroc((probability * (1 - probability))[brain], wrong[brain])
    return None if np.isnan(found) else round(found, 4)


def _settings(options: argparse.Namespace, checkpoint: Checkpoint) -> dict[str, Any]:
    """What rows of one file must share."""
    recipe = checkpoint.recipe
    return {
        "checkpoint": checkpoint.digest,
        "smoothing_mm": recipe.smoothing_mm,
        "smoothing_slices": recipe.smoothing_slices,
        "refine_by": recipe.refine_by,
        "members": options.members,
        "sampler": recipe.sampler,
        "steps": options.timesteps or recipe.timesteps,
        "precision": options.precision,
        "every": options.every,
    }


def _earlier(path: Path, settings: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows that an earlier command with these settings left."""
    if not path.exists():
        return []
    record = json.loads(path.read_text("utf-8"))
    same = all(record.get(name, _BEFORE.get(name)) == value for name, value in settings.items())
    return list(record["cases"]) if same else []


def _write(options: argparse.Namespace, settings: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    record = {
        "command": f"python benchmarks/real_cases.py --cases DIR --checkpoint {Path(options.checkpoint).name} "
        f"--members {options.members}"
        + (f" --timesteps {options.timesteps}" if options.timesteps else "")
        + (f" --precision {options.precision}" if options.precision != "auto" else "")
        + (f" --every {options.every}" if options.every != 1 else "")
        + (f" --only {options.only}" if options.only else ""),
        "date": datetime.now(UTC).date().isoformat(),
        "device": f"{os.cpu_count()} cores, {platform.machine()}"
        if options.device in ("auto", "cpu")
        else options.device,
        "versions": {name: version(name) for name in ("napari-diffseg", "torch", "numpy")},
        **settings,
        **{f"mean_{name}": _mean(rows, name) for name in _MEANS},
        "cases": rows,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_json(options.out, record, overwrite=True)


def _mean(rows: list[dict[str, Any]], name: str) -> float | None:
    known = [row[name] for row in rows if row.get(name) is not None]
    return round(float(np.mean(known)), 4) if known else None


if __name__ == "__main__":
    main()
