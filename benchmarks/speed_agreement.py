"""Whether the engine's fast paths give the masks of the plain float32 network.

    python benchmarks/speed_agreement.py [--cases DIR] [--phantoms 2] [--every 12] [--members 5]

Samples the same members of the same slices with the plain network in float32, with the engine's network in float32 and
in bf16; the shipped case, held-out phantoms and, if given, the folders of images in DIR. Writes
`benchmarks/results/speed_agreement.json`: figures only, no image and no mask.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from cells import RESULTS, write_record
from held_out import phantom_case
from options import parser

from napari_diffseg.checkpoint import load_checkpoint, resolve_checkpoint
from napari_diffseg.decode import decode_masks
from napari_diffseg.diffusion.ddim import sample_ddim
from napari_diffseg.diffusion.denoiser import ConditionedDenoiser
from napari_diffseg.diffusion.noise import SeededNoise, member_seed
from napari_diffseg.diffusion.schedule import make_schedule, respaced_timesteps
from napari_diffseg.encode import encode
from napari_diffseg.ensemble.dice import dice
from napari_diffseg.imaging.case import read_case
from napari_diffseg.imaging.case_files import find_case_files
from napari_diffseg.networks.unet import to_inference
from napari_diffseg.segmenting.device.choose_device import resolve_device
from napari_diffseg.segmenting.device.heap import freed_memory_kept
from napari_diffseg.segmenting.device.prepare import prepare
from napari_diffseg.synthesis.phantom import PhantomSettings, make_phantom

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_diffseg.checkpoint import Checkpoint
    from napari_diffseg.encode import Conditioning
    from napari_diffseg.imaging.case import Case
    from napari_diffseg.networks.unet import UNet
    from napari_diffseg.recipe import Recipe
    from napari_diffseg.segmenting.device.prepare import Prepared

Bool = npt.NDArray[np.bool_]

_PHANTOM_SEED = 910_000
_DEMO = Path(__file__).resolve().parents[1] / "src" / "napari_diffseg" / "data" / "demo_case"


def main() -> None:
    """Sample, compare, write after each case."""
    options = _options()
    checkpoint = load_checkpoint(resolve_checkpoint(options.checkpoint))
    device = resolve_device(options.device)
    torch.backends.cudnn.allow_tf32 = False  # what is compared with is float32
    plain = to_inference(checkpoint.network()).to(device)
    paths = {
        name: prepare(checkpoint.network(), checkpoint.recipe.size, device=device, dtype=dtype)
        for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16))
    }
    rows: list[dict[str, Any]] = []
    for kind, case in _cases(options.cases, options.phantoms, checkpoint.recipe.modalities):
        seen = encode(case, checkpoint.recipe, choose=lambda n: range(options.every // 2, n, options.every))
        if not seen.sampled:  # too few slices for one in so many, or none of them with brain
            continue
        with freed_memory_kept():
            expected = _members(plain, seen, checkpoint.recipe, options.members, device)
            for name, network in paths.items():
                got = _members(network, seen, checkpoint.recipe, options.members, device)
                rows.append({"case": kind, "path": name, "slices": len(seen.sampled)} | _differences(got, expected))
                print(json.dumps(rows[-1]), flush=True)
        _write(options.out or RESULTS / "speed_agreement.json", rows, options.members, checkpoint, device)


def _options() -> Any:
    p = parser(__doc__)
    p.set_defaults(phantoms=2, every=12)
    p.add_argument("--members", type=int, default=5)
    p.add_argument("--cases", type=Path, help="a folder with one folder of images a case")
    return p.parse_args()


def _cases(folder: Path | None, phantoms: int, modalities: tuple[str, ...]) -> Iterator[tuple[str, Case]]:
    """Cases by kind: shipped, phantom, real."""
    yield "shipped", read_case(_DEMO)
    for n in range(phantoms):
        settings = PhantomSettings(seed=_PHANTOM_SEED + n, shape=(120, 120, 78), spacing_mm=(2.0, 2.0, 2.0))
        yield "phantom", phantom_case(make_phantom(settings), f"phantom {n}")
    for path in sorted(p for p in folder.iterdir() if p.is_dir()) if folder else []:
        if {*modalities} <= {*find_case_files(path)}:
            yield "real", read_case(path, modalities=modalities)


def _members(network: UNet | Prepared, seen: Conditioning, recipe: Recipe, count: int, device: torch.device) -> Bool:
    """(count, S, U, V): the members that a run with seed 0 has there, slice by slice."""
    total = recipe.train_timesteps
    schedule = make_schedule(recipe.schedule, total, timesteps=respaced_timesteps(total, recipe.timesteps))
    slices = []
    for place, slice_index in enumerate(seen.sampled):
        image = seen.image[place].to(device).repeat(count, 1, 1, 1)
        with torch.inference_mode():
            denoiser = ConditionedDenoiser(
                network, image, schedule, prediction=recipe.prediction, variance=recipe.variance, clip=recipe.clip
            )
            seeds = [member_seed(0, k, slice_index) for k in range(count)]
            for step in sample_ddim(denoiser, schedule, SeededNoise(seeds, (1, *recipe.size), device)):
                last = step.x
        x0 = last.float().cpu().numpy()
        slices.append(decode_masks(x0, seen.grid, recipe, rim=seen.rim, slices=[slice_index] * count)[0])
    return np.stack(slices, axis=1)


def _differences(got: Bool, expected: Bool) -> dict[str, Any]:
    """Of masks (K, S, U, V): consensus, mean and unbiased variance, each voxel by voxel."""
    means = [m.mean(axis=0, dtype=np.float64) for m in (got, expected)]
    variances = [m.var(axis=0, dtype=np.float64, ddof=1) for m in (got, expected)]
    moved = {name: np.abs(a - b) for name, (a, b) in {"mean": means, "variance": variances}.items()}
    return {
        "consensus_dice": round(dice(means[0] > 0.5, means[1] > 0.5), 5),
        "lesion_voxels": int((means[1] > 0.5).sum()),
        "members_changed": float(np.mean(got != expected)),
        **{f"{name}_largest": round(float(d.max()), 4) for name, d in moved.items()},
        **{f"{name}_average": float(d.mean()) for name, d in moved.items()},
    }


def _write(path: Path, rows: list[dict[str, Any]], members: int, checkpoint: Checkpoint, device: torch.device) -> None:
    kinds = [(kind, name) for kind in ("shipped", "phantom", "real") for name in ("fp32", "bf16")]
    table = [_pooled(kind, name, some) for kind, name in kinds if (some := _of(rows, kind, name))]
    write_record(path, {"members": members, "rows": table}, checkpoint=checkpoint, device=device)


def _of(rows: list[dict[str, Any]], kind: str, name: str) -> list[dict[str, Any]]:
    return [row for row in rows if row["case"] == kind and row["path"] == name]


def _pooled(kind: str, name: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """One row for all cases of a kind: the worst of what is worst, the mean of what is a mean."""
    return {
        "cases": kind,
        "path": name,
        "count": len(rows),
        "slices": sum(row["slices"] for row in rows),
        "lowest_consensus_dice": min(row["consensus_dice"] for row in rows),
        "members_changed": float(np.mean([row["members_changed"] for row in rows])),
        **{key: max(row[key] for row in rows) for key in ("mean_largest", "variance_largest")},
        **{key: float(np.mean([row[key] for row in rows])) for key in ("mean_average", "variance_average")},
    }


if __name__ == "__main__":
    main()
