"""The diffusion ensemble against plain U-Nets of the same family: one mask, and a deep ensemble for the uncertainty.

    python benchmarks/baseline_unet.py --small --steps 1000 [--networks 5] [--pool POOL.npz] [--checkpoint demo]

Trains `--networks` plain U-Nets and one diffusion network, each for the same steps on the same slices of the pool
(one random reader a draw), then measures them, and the checkpoint, on the same held-out phantoms. A pool that is not
there is drawn. `--plain-only` trains no diffusion network: the checkpoint alone stands against the plain ones.
`--small` trains the networks of the ablation on its slices of 4 mm, an hour of one core for six of a thousand steps,
instead of the checkpoint's. `--share` splits the steps among the plain networks, so that all of them together had what
the diffusion network had. Training is on the processor. Everything is kept in `--work` and taken up again. Writes
`benchmarks/results/baseline_unet.json`, or what `--out` names.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from ablation import varied
from baseline_training import Arm, Budget, OutOfTime, plain_config, read_slices
from cells import RESULTS, Cells, write_record
from cells import Budget as Time
from held_out import HeldOut, held_out
from options import parser, read_model
from sampling import Chain, Model
from scoring import RULES, Score, by_phantom, curve, score, summary

from napari_diffseg.decode import decode_preview
from napari_diffseg.networks.unet import UNet
from napari_diffseg.segmenting.device.choose_device import precision_name, resolve_precision
from napari_diffseg.segmenting.device.prepare import prepare

if TYPE_CHECKING:
    import argparse

    from baseline_training import Slices

    from napari_diffseg.networks.config import UNetConfig
    from napari_diffseg.recipe import Recipe


def main() -> None:
    """Train, measure, write; without a result where the time does not suffice."""
    options = _options()
    try:
        _compare(options, until=None if options.budget_s is None else time.monotonic() + options.budget_s)
    except OutOfTime as err:
        print(err)


def _compare(options: argparse.Namespace, *, until: float | None) -> None:
    model, checkpoint = read_model(options)
    config, recipe = _small(options) if options.small else (checkpoint.config, checkpoint.recipe)
    pool = options.pool or options.work / f"pool-{options.pool_phantoms}-{recipe.spacing_mm:g}mm.npz"
    slices = read_slices(pool, recipe, phantoms=options.pool_phantoms)
    networks = _train(options, config, recipe, slices, until=until)
    dtype = resolve_precision(options.precision, model.device)
    diffusion = networks.pop("diffusion", None)
    subjects = _subjects(recipe, options)
    plain = list(networks.values())
    arms = _plain_arms(plain, subjects, recipe)
    best = max((n for n in arms if n.startswith("plain U-Net ")), key=lambda n: summary(arms[n])["dice"])
    if diffusion is not None:
        trained = Model(
            prepare(diffusion, recipe.size, device=model.device, dtype=dtype),
            recipe,
            model.device,
            f"trained {_key(_budget(options), config, slices)}/{precision_name(dtype)}",
            options.batch,
        )
        arms |= _diffusion(f"diffusion, {options.steps} steps", trained, subjects, options, until=until)
    arms |= _diffusion("diffusion, the checkpoint", model, _subjects(model.recipe, options), options, until=until)
    chain = _chain(model)
    figures: dict[str, Any] = {
        "rules": RULES,
        "training": _training(options, config, recipe, slices),
        "phantoms": len(subjects),
        "randomise": options.randomise,
        "slices": sum(len(s.slices) for s in subjects),
        "members": options.members,
        "chain": {"sampler": chain.name, "steps": chain.steps},
        "best_plain": best,
        "arms": [{"arm": name} | summary(scores) for name, scores in arms.items()],
        "by_phantom": {name: by_phantom(scores) for name, scores in arms.items()},
        "reliability": {name: curve(scores) for name, scores in arms.items()},
    }
    write_record(options.out or RESULTS / "baseline_unet.json", figures, checkpoint=checkpoint, device=model.device)
    for row in figures["arms"]:
        print(row)


def _small(options: argparse.Namespace) -> tuple[UNetConfig, Recipe]:
    """Network and recipe of the ablation."""
    small = varied({}, seed=0, steps=options.steps)
    return small.network.unet_config(small.recipe), small.recipe


def _subjects(recipe: Recipe, options: argparse.Namespace) -> list[HeldOut]:
    """The same phantoms and slices, encoded for a recipe."""
    return list(held_out(recipe, count=options.phantoms, every=options.every, randomise=options.randomise))


def _chain(model: Model) -> Chain:
    return Chain(model.recipe.sampler, model.recipe.timesteps)


def _options() -> argparse.Namespace:
    p = parser(__doc__)
    p.set_defaults(phantoms=8)
    p.add_argument("--pool", type=Path, help="an .npz of slices; drawn if it is not there")
    p.add_argument("--pool-phantoms", type=int, default=60, help="phantoms in a pool that is drawn")
    p.add_argument("--steps", type=int, default=300, help="steps of the diffusion network, and of each plain one")
    p.add_argument("--small", action="store_true", help="train the small networks of the ablation")
    p.add_argument("--plain-only", action="store_true", help="train no diffusion network")
    p.add_argument("--share", action="store_true", help="the plain networks have --steps together, not each")
    p.add_argument("--networks", type=int, default=5)
    p.add_argument("--batch-size", type=int, default=12)
    p.add_argument("--members", type=int, default=5)
    return p.parse_args()


def _train(
    options: argparse.Namespace, config: UNetConfig, recipe: Recipe, slices: Slices, *, until: float | None
) -> dict[str, UNet]:
    """The networks by name; what is trained already is read."""
    if recipe.prediction != "x0" or (recipe.mask_low, recipe.mask_high) != (-1, 1):
        raise SystemExit("This baseline trains x_0 prediction of masks of -1 and 1: give a checkpoint of that kind.")
    plain = plain_config(config, recipe)
    each = replace(_budget(options), steps=_each(options))
    arms = {f"plain U-Net {k + 1}": Arm("plain", plain, recipe, budget=each, seed=k) for k in range(options.networks)}
    if not options.plain_only:
        arms["diffusion"] = Arm("diffusion", config, recipe, budget=_budget(options), seed=0)
    trained = {}
    for name, arm in arms.items():
        path = options.work / f"{name.replace(' ', '-')}-{_key(arm.budget, config, slices)}.pt"
        trained[name] = arm.train(slices, path, name=name, until=until)
    return trained


def _budget(options: argparse.Namespace) -> Budget:
    return Budget(options.steps, batch=options.batch_size)


def _each(options: argparse.Namespace) -> int:
    """Steps of one plain network."""
    return max(1, options.steps // options.networks) if options.share else int(options.steps)


def _key(budget: Budget, config: UNetConfig, slices: Slices) -> str:
    """What a training depends on."""
    some = slices.images[:: max(1, len(slices.images) // 16)]
    what = f"{budget}/{config}/{slices.images.shape}"
    return hashlib.sha256(what.encode() + some.tobytes()).hexdigest()[:12]


def _training(options: argparse.Namespace, config: UNetConfig, recipe: Recipe, slices: Slices) -> dict[str, Any]:
    return {
        "parameters": sum(p.numel() for p in UNet(config).parameters()),
        "size": list(recipe.size),
        "spacing_mm": recipe.spacing_mm,
        "slices": len(slices.images),
        "readers": slices.masks.shape[1],
        "batch": options.batch_size,
        "steps_diffusion": None if options.plain_only else options.steps,
        "steps_each_plain": _each(options),
        "plain_networks": options.networks,
        "note": "The checkpoint was trained longer, on more phantoms and with stronger augmentation than the others"
        + (". " if options.plain_only else "; the two arms of equal steps are to be compared. ")
        + ("The best plain network is chosen on the phantoms that it is measured on." if options.networks > 1 else ""),
    }


def _plain_arms(networks: list[UNet], subjects: list[HeldOut], recipe: Recipe) -> dict[str, list[Score]]:
    """Each network alone, and all of them as an ensemble: mean of their probabilities, masks of each."""
    arms: dict[str, list[Score]] = {f"plain U-Net {k + 1}": [] for k in range(len(networks))}
    together = f"deep ensemble of {len(networks)}"
    if len(networks) > 1:
        arms[together] = []
    for subject in subjects:
        began = time.monotonic()
        p = np.stack([_probability(n, subject, recipe) for n in networks])
        for k in range(len(networks)):
            arms[f"plain U-Net {k + 1}"].append(score(subject, p[k : k + 1] > 0.5, mean=p[k]))
        if len(networks) > 1:
            arms[together].append(score(subject, p > 0.5, mean=p.mean(axis=0)))
        print(f"{subject.name}  plain  {time.monotonic() - began:.0f} s", flush=True)
    return arms


def _probability(network: UNet, subject: HeldOut, recipe: Recipe) -> np.ndarray:
    """What a plain network says of a phantom, (S, U, V) in [0, 1]."""
    with torch.inference_mode():
        p = network(subject.image, torch.zeros(len(subject.image))).sigmoid()[:, 0].numpy()
    low, high = recipe.mask_low, recipe.mask_high
    planes = zip(low + (high - low) * p, subject.slices, strict=True)
    return np.stack([decode_preview(x0, subject.grid, recipe, rim=subject.rim, slice_index=s) for x0, s in planes])


def _diffusion(
    name: str, model: Model, subjects: list[HeldOut], options: argparse.Namespace, *, until: float | None
) -> dict[str, list[Score]]:
    """Ensembles of the default steps: votes alone, summed up as the engine does, and what one evaluation expects."""
    cells, chain = Cells(options.work), _chain(model)
    budget = Time(None if until is None else max(0.0, until - time.monotonic()))
    alone: list[Score] = []
    smoothed: list[Score] = []
    expected: list[Score] = []
    for k, subject in enumerate(subjects):
        rows = [model.missing_rows(s, chain, options.members, cells=cells) for s in subjects[k:]]
        if not budget.allows(rows[0]):
            raise OutOfTime(f"{subject.name}: no time to sample it; the same command goes on from there.")
        members = model.members(subject, chain, options.members, cells=cells, budget=budget)
        alone.append(score(subject, members))
        mean = model.smoothed_mean(subject, members, cells=cells, budget=budget)
        if mean is not None:
            smoothed.append(score(subject, members, mean=mean))
        mean = model.posterior_mean(subject, draws=2, cells=cells, budget=budget)
        expected.append(score(subject, mean[None] > 0.5, mean=mean))
        print(f"{subject.name}  {name}  {budget.estimate(sum(rows[1:])) / 60:.1f} min left", flush=True)
    return (
        {name: alone} | ({f"{name}, smoothed": smoothed} if smoothed else {}) | {f"{name}, one-step estimate": expected}
    )


if __name__ == "__main__":
    main()
