"""What harmless changes of a case do to its mask: Dice with the truth, and with the mask of the case as it was.

    python benchmarks/robustness.py [--cases DIR] [--phantoms 2] [--family mixture] [--members 0] [--every 3] [--resume]

DIR holds one folder a case, with images and a `_seg` file. Each case is changed as `changes.py` says and segmented
again: by default by the one-step estimate of a run of all slices, refined where the checkpoint refines it, with
`--members` by an ensemble. `--every` keeps some of the slices for the figures. Writes
`benchmarks/results/robustness.json` after each case; `--resume` goes on with the rows of an earlier command with the
same settings. Figures only, no image and no mask.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import torch
from cells import RESULTS, write_record
from changes import CHANGES, Scene
from options import parser, read_model

from napari_diffseg.decode import decode_probability
from napari_diffseg.diffusion.denoiser import ConditionedDenoiser
from napari_diffseg.diffusion.noise import SeededNoise, member_seed
from napari_diffseg.diffusion.schedule import make_schedule, respaced_timesteps
from napari_diffseg.encode import encode
from napari_diffseg.ensemble.dice import dice
from napari_diffseg.ensemble.ensemble import Ensemble
from napari_diffseg.events import Expected, Refined, Sampled, SegmentRequest, Started
from napari_diffseg.imaging.case import Case, read_case
from napari_diffseg.imaging.case_files import find_case_files
from napari_diffseg.imaging.formats.nifti import read_mask
from napari_diffseg.imaging.volume import Volume
from napari_diffseg.segmenting.flip_augmentation import Mirroring
from napari_diffseg.segmenting.segmenter import LocalSegmenter
from napari_diffseg.synthesis.phantom import PhantomSettings, make_phantom
from napari_diffseg.synthesis.settings import PhantomFamily

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from changes import Float
    from sampling import Model

    from napari_diffseg.checkpoint import Checkpoint
    from napari_diffseg.synthesis.settings import PhantomKind

    Estimate = Callable[[Scene, Sequence[int]], Float]
    """The probability of a lesion in a scene on some slices of the last axis, (X, Y, S)."""

_FIRST_SEED = 900_000
_MARGIN = 8
"""Voxels of background left around a brain: empty ones only take time."""
_KINDS: tuple[PhantomKind, ...] = ("glioma", "lowgrade")


def main() -> None:
    """Change, segment, compare, write."""
    options = options_of(__doc__, every=3)
    model, checkpoint = read_model(options)
    out = options.out or RESULTS / "robustness.json"
    settings = settings_of(options, model)
    rows = earlier_rows(out, settings) if options.resume else []
    estimate = _of_run(checkpoint, options)
    for name, scene in scenes(options, model.recipe.modalities):
        known = {row["change"] for row in rows if row["case"] == name}
        wanted = [change for change in options.changes.split(",") if change] or list(CHANGES)
        missing = {change: CHANGES[change] for change in wanted if change not in known}
        for row in compared(scene, missing, estimate, every=options.every):
            rows.append({"case": name} | row)
            print(rows[-1], flush=True)
        write_record(out, settings | {"rows": rows} | summary(rows), checkpoint=checkpoint, device=model.device)
    if not rows:
        raise SystemExit("No case was measured: give --cases, folders with images and a _seg file, or --phantoms.")
    for change, figures in summary(rows)["changes"].items():
        print(f"{change}: {figures}")


def options_of(doc: str | None, *, every: int) -> argparse.Namespace:
    """The options of this command, or of another that measures the same scenes."""
    p = parser(doc)
    p.set_defaults(phantoms=0, every=every)
    p.add_argument("--cases", type=Path, help="folder of real cases, each with a _seg file")
    p.add_argument("--family", choices=get_args(PhantomFamily), default="grown", help="how phantoms are drawn")
    p.add_argument("--members", type=int, default=0, help="of an ensemble; 0: the one-step estimate")
    p.add_argument("--only", default="", help="some of the cases, separated by commas")
    p.add_argument("--changes", default="", help="some of the changes, separated by commas")
    p.add_argument("--resume", action="store_true")
    return p.parse_args()


def compared(
    scene: Scene, changes: Mapping[str, Callable[[Scene], Scene]], estimate: Estimate, *, every: int
) -> Iterator[dict[str, Any]]:
    """A row for each change: Dice on the same slices and voxels, with the case as it is and changed.

    Parameters
    ----------
    scene : Scene
        The case, with its truth among the maps.
    changes : mapping
        By name.
    estimate : callable
        The probability of a lesion on some slices; above a half is its mask.
    every : int
        Keep one slice in so many, fewer where a change makes slices thicker.

    Yields
    ------
    dict
        `unchanged` and `changed` are Dice with the truth, `agreement` is Dice with the mask of the unchanged case.
    """
    if not changes:
        return
    every_slice = range(scene.brain.shape[2])
    before = scene.with_map("before", (estimate(scene, every_slice) > 0.5).astype(np.float32))
    for name, change in changes.items():
        after = change(before)
        thicker = max(1, round(after.spacing_mm[2] / scene.spacing_mm[2]))
        slices = range(0, after.brain.shape[2], max(1, every // thicker))
        truth, unchanged = (after.maps[m][..., slices] > 0.5 for m in ("truth", "before"))
        mask = estimate(after, slices) > 0.5
        pairs = {"unchanged": (unchanged, truth), "changed": (mask, truth), "agreement": (mask, unchanged)}
        yield {"change": name, **{key: round(dice(a, b), 4) for key, (a, b) in pairs.items()}}


def summary(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """For each change what it costs: the mean and the largest loss of Dice, the case of that, and the agreement."""
    found: dict[str, Any] = {}
    for change in dict.fromkeys(row["change"] for row in rows):
        own = [row for row in rows if row["change"] == change]
        worst = max(own, key=_loss)
        found[change] = {
            "unchanged": round(float(np.mean([row["unchanged"] for row in own])), 4),
            "changed": round(float(np.mean([row["changed"] for row in own])), 4),
            "mean_loss": round(float(np.mean([_loss(row) for row in own])), 4),
            "largest_loss": round(_loss(worst), 4),
            "largest_loss_in": worst["case"],
            "agreement": round(float(np.mean([row["agreement"] for row in own])), 4),
        }
    return {"cases": len({row["case"] for row in rows}), "changes": found}


def _loss(row: Mapping[str, Any]) -> float:
    return float(row["unchanged"] - row["changed"])


def scenes(options: argparse.Namespace, modalities: tuple[str, ...]) -> Iterator[tuple[str, Scene]]:
    """The cases and phantoms that are asked for, by name."""
    folders = sorted(p for p in options.cases.iterdir() if p.is_dir()) if options.cases else []
    for folder in folders:
        is_chosen = not options.only or folder.name in options.only.split(",")
        if is_chosen and {"seg", *modalities} <= set(find_case_files(folder)):
            case = read_case(folder, modalities=modalities)
            images = {m: volume.data.astype(np.float32) for m, volume in case.volumes.items()}
            truth = read_mask(find_case_files(folder)["seg"]).data > 0
            yield folder.name, Scene(images, {"truth": truth.astype(np.float32)}, case.affine).trimmed(_MARGIN)
    for n in range(options.phantoms):
        kind, seed = _KINDS[n % len(_KINDS)], _FIRST_SEED + n
        randomise = 0.25 if options.randomise is None else options.randomise
        phantom = make_phantom(
            PhantomSettings(kind=kind, family=options.family, seed=seed, readers=0, randomise=randomise)
        )
        images = {m: data.astype(np.float32) for m, data in phantom.volumes.items()}
        yield (
            f"{kind}-{options.family}-{seed}",
            Scene(images, {"truth": phantom.probability}, phantom.affine).trimmed(_MARGIN),
        )


def _case(scene: Scene) -> Case:
    return Case("changed", {m: Volume(a, scene.affine, None, None, ()) for m, a in scene.images.items()}, None)


def one_step(model: Model) -> Estimate:
    """The one-step estimate of a run: one evaluation at the noisiest timestep, or the mean of two, one of each view."""
    recipe = model.recipe
    schedule = make_schedule(
        recipe.schedule, recipe.train_timesteps, timesteps=respaced_timesteps(recipe.train_timesteps, 1)
    )

    def expected(image: torch.Tensor, slices: Sequence[int], member: int) -> torch.Tensor:
        mirroring = Mirroring.of_members(recipe, [member] * len(slices), model.device)
        noise = SeededNoise([member_seed(0, member, s) for s in slices], (1, *recipe.size), model.device)
        denoiser = ConditionedDenoiser(
            model.network,
            mirroring(image),
            schedule,
            prediction=recipe.prediction,
            variance=recipe.variance,
            clip=recipe.clip,
            rescale_timesteps=recipe.rescale_timesteps,
        )
        with torch.inference_mode():
            return mirroring(denoiser(noise(), 0).x0).float().cpu()

    def estimate(scene: Scene, slices: Sequence[int]) -> Float:
        coding = encode(_case(scene), recipe, choose=lambda _: slices)
        out = np.zeros((*scene.brain.shape[:2], len(slices)), np.float32)
        views = (0, 1) if recipe.mirror else (0,)
        for start in range(0, len(coding.sampled), model.batch):
            some = coding.sampled[start : start + model.batch]
            image = coding.image_of(some).to(model.device)
            x0 = torch.stack([expected(image, some, view) for view in views]).mean(dim=0)
            probability = decode_probability(x0.numpy(), coding.grid, recipe, rim=coding.rim, slices=some)[0]
            out[..., [slices.index(s) for s in some]] = np.moveaxis(probability, 0, 2)
        return out

    return estimate


def _of_run(checkpoint: Checkpoint, options: argparse.Namespace) -> Estimate:
    """What a run says on all slices, of which some are kept.

    Its smoothed probability with so many members; without any, its one-step estimate, refined where it is to be, as
    soon as that has come.
    """
    segmenter = LocalSegmenter(checkpoint, preview_interval_s=None)
    request = SegmentRequest(members=options.members or 2, device=options.device, precision=options.precision)

    def estimate(scene: Scene, slices: Sequence[int]) -> Float:
        for event in segmenter.segment(_case(scene), request):
            match event:
                case Started():
                    ensemble = Ensemble.for_run(event)
                case Expected() | Refined() | Sampled():
                    ensemble.take(event)
            expected = ensemble.expected
            if not options.members and expected is not None and expected.is_final:
                known = expected.refined()
                return np.asarray((expected.probability() if known is None else known)[0][..., list(slices)])
        return np.asarray(ensemble.probability()[0][..., list(slices)])

    return estimate


def settings_of(options: argparse.Namespace, model: Model) -> dict[str, Any]:
    """What rows of one file must share."""
    return {
        "network": model.digest,
        "measure": f"{options.members} members" if options.members else "one-step estimate of a run",
        "refine_by": model.recipe.refine_by,
        "every": options.every,
        "randomise": options.randomise,
        "family": options.family if options.phantoms else None,
    }


def earlier_rows(path: Path, settings: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows that an earlier command with these settings left."""
    if not path.exists():
        return []
    record = json.loads(path.read_text("utf-8"))
    same = all(record.get(name) == value for name, value in settings.items())
    return list(record["rows"]) if same else []


if __name__ == "__main__":
    main()
