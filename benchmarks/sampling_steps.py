"""How few steps are enough: Dice, distribution and calibration of every sampler by the number of its steps.

    python benchmarks/sampling_steps.py [--checkpoint demo] [--longest 1000] [--phantoms 3] [--budget-s 600]

All chains see the same slices and start from the same noise. The short ones come first; `--longest` and `--budget-s`
leave out the others, and the same command given again goes on with them. The result is written after every chain, to
`benchmarks/results/sampling_steps.json`.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from cells import RESULTS, Budget, Cells, write_record
from held_out import HeldOut, held_out
from options import parser, read_model
from sampling import Chain
from scoring import RULES, score, summary

from napari_diffseg.diffusion.schedule import make_schedule

if TYPE_CHECKING:
    import argparse

    from sampling import Model

    from napari_diffseg.diffusion.samplers import SamplerName

STEPS = (1, 2, 5, 10, 15, 20, 50, 250, 1000)
SAMPLERS: tuple[SamplerName, ...] = ("ddim", "ddpm", "dpmpp")
_SHIFTED_STEPS = (5, 10, 20)
_CLOSE = 0.005


def main() -> None:
    """Sample chain after chain and write what is known."""
    options = _options()
    model, checkpoint = read_model(options)
    cells, budget = Cells(options.work), Budget(options.budget_s)
    subjects = list(held_out(model.recipe, count=options.phantoms, every=options.every, randomise=options.randomise))
    mean = [model.posterior_mean(s, draws=2, cells=cells, budget=budget) for s in subjects]
    preview = summary([score(s, m[None] > 0.5, mean=m) for s, m in zip(subjects, mean, strict=True)])
    preview = {k: v for k, v in preview.items() if k not in ("ged2", "hm_iou", "single_dice")}
    rows: list[dict[str, Any]] = []
    left_out: list[str] = []

    def write(rows: list[dict[str, Any]]) -> None:
        known = {"one_step_mean": preview, "left_out": left_out}
        figures = known | (_figures(model, subjects, options, rows) if rows else {})
        write_record(
            options.out or RESULTS / "sampling_steps.json", figures, checkpoint=checkpoint, device=model.device
        )

    chains = _chains(options)
    for i, chain in enumerate(chains):
        missing = [_missing(model, subjects, c, options.members, cells) for c in chains[i:]]
        if not budget.allows(missing[0]):
            left_out.append(f"{chain.name}, {chain.steps} steps")
            continue
        began = time.monotonic()
        masks = [model.members(s, chain, options.members, cells=cells, budget=budget) for s in subjects]
        scores = [score(s, m) for s, m in zip(subjects, masks, strict=True)]
        rows.append({"sampler": chain.name, "steps": chain.steps} | summary(scores))
        left = budget.estimate(sum(missing[1:])) / 60
        print(f"{rows[-1]}  {time.monotonic() - began:.0f} s, all the rest {left:.1f} min", flush=True)
        write(rows)
    write(rows)
    print(f"Left out for want of time: {'; '.join(left_out) or 'nothing'}.")


def _options() -> argparse.Namespace:
    p = parser(__doc__)
    p.set_defaults(phantoms=3, every=9)
    p.add_argument("--members", type=int, default=5)
    p.add_argument("--longest", type=int, default=1000, help="the longest chain")
    p.add_argument("--samplers", default=",".join(SAMPLERS))
    p.add_argument("--steps", default=",".join(map(str, STEPS)))
    return p.parse_args()


def _chains(options: argparse.Namespace) -> list[Chain]:
    """By cost; ddim with noise and the shifted start at a few short lengths, where they may matter."""
    steps = [n for n in sorted(int(s) for s in options.steps.split(",")) if n <= options.longest]
    samplers = options.samplers.split(",")
    chains = [Chain(s, n) for n in steps for s in SAMPLERS if s in samplers]
    few = [n for n in _SHIFTED_STEPS if n in steps]
    if "ddim" in samplers:
        chains += [c for n in few for c in (Chain("ddim", n, shifted=True), Chain("ddim", n, eta=1.0))]
    if "dpmpp" in samplers:
        chains += [Chain("dpmpp", n, shifted=True) for n in few]
    return sorted(chains, key=lambda c: c.evaluations)


def _missing(model: Model, subjects: list[HeldOut], chain: Chain, members: int, cells: Cells) -> int:
    return sum(model.missing_rows(s, chain, members, cells=cells) for s in subjects)


def _figures(
    model: Model, subjects: list[HeldOut], options: argparse.Namespace, rows: list[dict[str, Any]]
) -> dict[str, Any]:
    recipe = model.recipe
    kept = make_schedule(recipe.schedule, recipe.train_timesteps).alphas_cumprod[-1]
    return {
        "rules": RULES,
        "phantoms": len(subjects),
        "randomise": options.randomise,
        "slices": sum(len(s.slices) for s in subjects),
        "members": options.members,
        "precision": model.digest.rpartition("/")[2],
        "default": {"sampler": recipe.sampler, "steps": recipe.timesteps},
        "signal_left_at_last_timestep": float(kept) ** 0.5,
        "fewest_steps_within_0.005": _fewest(rows),
        "rows": rows,
    }


def _fewest(rows: list[dict[str, Any]]) -> dict[str, dict[str, int]]:
    """By sampler: its longest chain, and the fewest steps from which on Dice and ECE stay within 0.005 of that."""
    found = {}
    for name in dict.fromkeys(row["sampler"] for row in rows):
        down = sorted((row for row in rows if row["sampler"] == name), key=lambda row: -int(row["steps"]))
        longest = fewest = down[0]
        for row in down:
            if any(abs(row[k] - longest[k]) > _CLOSE for k in ("dice", "ece")):
                break
            fewest = row
        found[name] = {"of": longest["steps"], "fewest": fewest["steps"]}
    return found


if __name__ == "__main__":
    main()
