"""Ensembles on new phantoms: Dice, distribution and calibration by the number of members.

    python benchmarks/phantom_ensemble.py [--checkpoint demo] [--phantoms 8] [--members 5] [--deep 3]

The first `--deep` phantoms get `--deep-members`, for the table by members; all phantoms get `--members`, for the
headline, which is also measured with the votes smoothed as the recipe says (in the plane alone, as slices lie apart).
Members are kept in `--work`: a command that was stopped goes on where it was when it is given again.
Writes `benchmarks/results/phantom_ensemble.json`.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from cells import RESULTS, Budget, Cells, write_record
from held_out import HeldOut, held_out
from options import parser, read_model
from sampling import Chain
from scoring import RULES, Score, by_phantom, curve, score, summary

if TYPE_CHECKING:
    import argparse

    from sampling import Model

COUNTS = (1, 2, 5, 10, 20, 50)


def main() -> None:
    """Sample, measure, write."""
    options = _options()
    model, checkpoint = read_model(options)
    cells, budget = Cells(options.work), Budget(options.budget_s)
    chain = Chain(options.sampler or model.recipe.sampler, options.steps or model.recipe.timesteps, eta=options.eta)
    subjects = list(held_out(model.recipe, count=options.phantoms, every=options.every, randomise=options.randomise))
    measured = _sample(model, subjects, chain, options, cells=cells, budget=budget)
    deep = [(s, m) for s, m in measured if len(m) >= options.deep_members][: options.deep]
    table = _by_members(deep, options.deep_members) if deep else []
    scores = [score(s, m[: options.members]) for s, m in measured]
    figures: dict[str, Any] = {
        "rules": RULES,
        "sampler": chain.name,
        "steps": chain.steps,
        "precision": model.digest.rpartition("/")[2],
        "phantoms": len(scores),
        "randomise": options.randomise,
        "slices": sum(len(s.slices) for s, _ in measured),
        "members": options.members,
        "complete": len(measured) == options.phantoms,
        "ensemble": summary(scores),
        "smoothing_mm": model.recipe.smoothing_mm,
        "smoothed": summary(_smoothed(model, measured, options.members, cells=cells, budget=budget)),
        "by_members": {"phantoms": len(deep), "rows": table},
        "by_phantom": by_phantom(scores),
        "reliability": curve(scores),
    }
    write_record(options.out or RESULTS / "phantom_ensemble.json", figures, checkpoint=checkpoint, device=model.device)
    for row in table:
        print(row, flush=True)
    print(f"{options.members} members of {len(scores)} phantoms: {figures['ensemble']}")


def _by_members(measured: list[tuple[HeldOut, Any]], most: int) -> list[dict[str, Any]]:
    """The first 1, 2, 5 ... members of each phantom, a row a count."""
    counts = [n for n in COUNTS if n <= most]
    return [{"members": n} | summary([score(s, m[:n]) for s, m in measured]) for n in counts]


def _smoothed(
    model: Model, measured: list[tuple[HeldOut, Any]], count: int, *, cells: Cells, budget: Budget
) -> list[Score]:
    """The first `count` members of each phantom, summed up as the engine does."""
    scores = []
    for subject, members in measured:
        some = members[:count]
        scores.append(score(subject, some, mean=model.smoothed_mean(subject, some, cells=cells, budget=budget)))
    return scores


def _options() -> argparse.Namespace:
    p = parser(__doc__)
    p.set_defaults(phantoms=8)
    p.add_argument("--members", type=int, default=5)
    p.add_argument("--deep", type=int, default=3, help="phantoms in the table by members")
    p.add_argument("--deep-members", type=int, default=50)
    p.add_argument("--sampler", choices=("ddpm", "ddim", "dpmpp"))
    p.add_argument("--steps", type=int)
    p.add_argument("--eta", type=float, default=0.0)
    return p.parse_args()


def _sample(
    model: Model, subjects: list[HeldOut], chain: Chain, options: argparse.Namespace, *, cells: Cells, budget: Budget
) -> list[tuple[HeldOut, Any]]:
    """Members of each phantom: first a few of all, then many of the first ones, as far as the time goes."""
    many = {s.name: max(options.deep_members, options.members) for s in subjects[: options.deep]}
    counts = [(s, options.members) for s in subjects] + [(s, many[s.name]) for s in subjects[: options.deep]]
    found: dict[str, tuple[HeldOut, Any]] = {}
    for i, (subject, count) in enumerate(counts):
        rows = [model.missing_rows(s, chain, k, cells=cells) for s, k in counts[i:]]
        if not budget.allows(rows[0]):
            print(f"No time for {count} members of {subject.name}: left out.", flush=True)
            continue
        began = time.monotonic()
        found[subject.name] = subject, model.members(subject, chain, count, cells=cells, budget=budget)
        left = budget.estimate(sum(rows[1:])) / 60
        print(f"{subject.name}  {count} members  {time.monotonic() - began:.0f} s  {left:.1f} min left", flush=True)
    return list(found.values())


if __name__ == "__main__":
    main()
