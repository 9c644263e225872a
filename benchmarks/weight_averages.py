"""Weights and averages of weights on real cases, on their 2 mm versions and on both families of phantoms.

    python benchmarks/weight_averages.py --cases DIR --weights fine-tuned=run/last.safetensors \
        --weights half=run/last.safetensors,demo [--only case_006,case_012] [--every 4] [--phantoms 8]

What is averaged are the numbers of the networks, one by one (as many files as are named, each as much), which costs
nothing in use. Measured is the one-step estimate, averaged over two noises, the second of the mirror image: cheap
enough to compare many. Real cases only measure: nothing of them is kept but figures. `demo` is the shipped checkpoint,
whose recipe all are used with. Writes `benchmarks/results/weight_averages.json` after each, and goes on with it.

References
----------
Wortsman et al. 2022, "Model soups", arXiv:2203.05482, and "Robust fine-tuning of zero-shot models", arXiv:2109.01903.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import torch
from cells import RESULTS, write_record
from changes import Scene, block_means
from held_out import held_out
from options import parser

from napari_diffseg.checkpoint import load_checkpoint, resolve_checkpoint
from napari_diffseg.decode import decode_probability
from napari_diffseg.diffusion.denoiser import ConditionedDenoiser
from napari_diffseg.diffusion.noise import SeededNoise, member_seed
from napari_diffseg.diffusion.schedule import make_schedule, respaced_timesteps
from napari_diffseg.encode import encode
from napari_diffseg.ensemble.dice import dice
from napari_diffseg.imaging.case import Case, read_case
from napari_diffseg.imaging.case_files import find_case_files
from napari_diffseg.imaging.formats.nifti import read_mask
from napari_diffseg.imaging.volume import Volume
from napari_diffseg.segmenting.device.choose_device import resolve_device, resolve_precision
from napari_diffseg.segmenting.device.prepare import prepare
from napari_diffseg.synthesis.settings import PhantomFamily

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping, Sequence

    import numpy.typing as npt

    from napari_diffseg.checkpoint import Checkpoint
    from napari_diffseg.imaging.geometry.grid import Grid
    from napari_diffseg.imaging.geometry.rim import Rim
    from napari_diffseg.recipe import Recipe
    from napari_diffseg.segmenting.device.prepare import Prepared

_NOISES = ((0, False), (1, True))
"""Member whose noise is taken, and whether of the mirror image."""
_MARGIN = 8
_EVERY_OF_PHANTOMS = 6


@dataclass(frozen=True, eq=False)
class Subject:
    """Some slices of a case or phantom as the network takes them; `truth` (U, V, S), bool, is on its own voxels."""

    kind: str
    name: str
    image: torch.Tensor
    grid: Grid
    rim: Rim | None
    slices: tuple[int, ...]
    truth: npt.NDArray[np.bool_]


def main() -> None:
    """Measure each, write."""
    options = _options()
    shipped = load_checkpoint(resolve_checkpoint("demo"))
    subjects = [*_real(options, shipped.recipe), *_phantoms(options, shipped.recipe)]
    out = options.out or RESULTS / "weight_averages.json"
    settings = {"every": options.every, "phantoms": options.phantoms, "first_noise": options.first_noise}
    rows = earlier(out, settings)
    for name, files in (word.split("=", 1) for word in options.weights):
        if name in [row["weights"] for row in rows]:
            continue
        row = {"weights": name, "files": [Path(f).name for f in files.split(",")]}
        rows.append(row | measured(averaged(files.split(",")), shipped, subjects, options))
        print({key: value for key, value in rows[-1].items() if key != "of_each"}, flush=True)
        write_record(out, settings | {"rows": rows}, checkpoint=shipped, device=torch.device(options.device_used))


def averaged(files: Sequence[str]) -> dict[str, torch.Tensor]:
    """The mean of the weights of checkpoints, float32."""
    states = [load_checkpoint(resolve_checkpoint(file)).state for file in files]
    return {name: torch.stack([s[name].float() for s in states]).mean(dim=0) for name in states[0]}


def measured(
    weights: Mapping[str, torch.Tensor], shipped: Checkpoint, subjects: Sequence[Subject], options: argparse.Namespace
) -> dict[str, Any]:
    """Mean and lowest Dice of each kind of subject, and of each subject its Dice and volume ratio."""
    device = torch.device(resolve_device(options.device))
    options.device_used = str(device)
    network = shipped.network()
    network.load_state_dict(dict(weights))
    dtype = resolve_precision(options.precision, device)
    ready = prepare(network, shipped.recipe.size, device=device, dtype=dtype)
    found: dict[str, dict[str, tuple[float, float]]] = {}
    for subject in subjects:
        mask = _estimate(ready, subject, shipped.recipe, device, options)
        ratio = float(mask.sum() / max(1, subject.truth.sum()))
        found.setdefault(subject.kind, {})[subject.name] = (round(dice(mask, subject.truth), 4), round(ratio, 2))
    summary: dict[str, Any] = {}
    for kind, each in found.items():
        values = [d for d, _ in each.values()]
        summary[kind] = {"mean": round(float(np.mean(values)), 4), "lowest": min(values)}
    return summary | {"of_each": found}


def _estimate(
    network: Prepared, subject: Subject, recipe: Recipe, device: torch.device, options: argparse.Namespace
) -> npt.NDArray[np.bool_]:
    total = np.zeros((len(subject.slices), 1, *recipe.size), np.float32)
    total_steps = recipe.train_timesteps
    schedule = make_schedule(recipe.schedule, total_steps, timesteps=respaced_timesteps(total_steps, 1))
    for member, is_mirrored in _NOISES:
        for start in range(0, len(subject.slices), options.batch):
            some = subject.slices[start : start + options.batch]
            image = subject.image[start : start + options.batch].to(device)
            seeds = [member_seed(0, options.first_noise + member, s) for s in some]
            with torch.inference_mode():
                denoiser = ConditionedDenoiser(
                    network,
                    image.flip(-1) if is_mirrored else image,
                    schedule,
                    prediction=recipe.prediction,
                    variance=recipe.variance,
                    clip=recipe.clip,
                    rescale_timesteps=recipe.rescale_timesteps,
                )
                x0 = denoiser(SeededNoise(seeds, (1, *recipe.size), device)(), 0).x0.float()
            total[start : start + len(some)] += (x0.flip(-1) if is_mirrored else x0).cpu().numpy()
    mean = total / np.float32(len(_NOISES))
    probability = decode_probability(mean, subject.grid, recipe, rim=subject.rim, slices=subject.slices)[0]
    return np.moveaxis(probability > 0.5, 0, 2)


def _real(options: argparse.Namespace, recipe: Recipe) -> Iterator[Subject]:
    folders = sorted(p for p in options.cases.iterdir() if p.is_dir()) if options.cases else []
    for folder in folders:
        is_chosen = not options.only or folder.name in options.only.split(",")
        if not is_chosen or not {"seg", *recipe.modalities} <= set(find_case_files(folder)):
            continue
        case = read_case(folder, modalities=recipe.modalities)
        images = {m: volume.data.astype(np.float32) for m, volume in case.volumes.items()}
        truth = (read_mask(find_case_files(folder)["seg"]).data > 0).astype(np.float32)
        scene = Scene(images, {"truth": truth}, case.affine).trimmed(_MARGIN)
        yield _subject("1 mm", folder.name, scene, recipe, options.every)
        yield _subject("2 mm", folder.name, block_means(2, 2, 1)(scene), recipe, options.every)


def _subject(kind: str, name: str, scene: Scene, recipe: Recipe, every: int) -> Subject:
    volumes = {m: Volume(a, scene.affine, None, None, ()) for m, a in scene.images.items()}
    coding = encode(Case(name, volumes, None), recipe, choose=lambda n: range(0, n, every))
    truth = scene.maps["truth"][..., list(coding.sampled)] > 0.5
    return Subject(kind, name, coding.image, coding.grid, coding.rim, coding.sampled, truth)


def _phantoms(options: argparse.Namespace, recipe: Recipe) -> Iterator[Subject]:
    for family in get_args(PhantomFamily):
        for h in held_out(recipe, count=options.phantoms, every=_EVERY_OF_PHANTOMS, family=family, readers=1):
            truth = np.moveaxis(h.probability > 0.5, 0, 2)
            yield Subject(family, h.name, h.image, h.grid, h.rim, h.slices, truth)


def earlier(path: Path, settings: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """The rows that an earlier command left; of other settings none."""
    if not path.exists():
        return []
    record = json.loads(path.read_text("utf-8"))
    return list(record["rows"]) if all(record.get(name) == value for name, value in (settings or {}).items()) else []


def _options() -> argparse.Namespace:
    p = parser(__doc__)
    p.set_defaults(phantoms=8, every=4, device_used="cpu")
    p.add_argument("--cases", type=Path, help="folder of real cases, each with a _seg file")
    p.add_argument("--only", default="", help="some of the cases, separated by commas")
    p.add_argument("--weights", action="append", required=True, help="NAME=FILE, or NAME=FILE,FILE for their mean")
    p.add_argument("--first-noise", type=int, default=0, help="member whose noise is the first")
    return p.parse_args()


if __name__ == "__main__":
    main()
