"""The same phantoms with readers who agree more or less: what of the Dice is decided by the images, not the network.

    python benchmarks/ambiguity.py [--checkpoint demo] [--phantoms 8] [--members 5] [--randomise 0.25]

A boundary fades over as many voxels as its readers differ (`PhantomSettings.ambiguity`; drawn from 0.25 to 0.9 where
nothing is said, as in all other benchmarks). All else of a phantom stays: anatomy, lesion, contrasts, artefacts. Writes
`benchmarks/results/ambiguity.json`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from cells import RESULTS, Budget, Cells, write_record
from held_out import held_out
from options import parser, read_model
from sampling import Chain
from scoring import RULES, score, summary

from napari_diffseg.evaluation.metrics.distribution import compare_distributions

if TYPE_CHECKING:
    import argparse

AMBIGUITIES: Final = (0.1, 0.25, 0.5, 0.9, None)


def main() -> None:
    """Sample, measure, write."""
    options = _options()
    model, checkpoint = read_model(options)
    cells, budget = Cells(options.work), Budget(options.budget_s)
    chain = Chain(model.recipe.sampler, model.recipe.timesteps)
    rows = []
    for ambiguity in AMBIGUITIES:
        subjects = held_out(
            model.recipe,
            count=options.phantoms,
            every=options.every,
            randomise=options.randomise,
            ambiguity=ambiguity,
        )
        scores, agreement = [], []
        for subject in subjects:
            members = model.members(subject, chain, options.members, cells=cells, budget=budget)
            scores.append(score(subject, members))
            agreement.append(compare_distributions(subject.readers, subject.readers).reader_dice)
        rows.append({"ambiguity": ambiguity, "reader_dice": round(float(np.mean(agreement)), 4)} | summary(scores))
        print(rows[-1], flush=True)
    figures: dict[str, Any] = {
        "rules": RULES,
        "sampler": chain.name,
        "steps": chain.steps,
        "members": options.members,
        "phantoms": options.phantoms,
        "randomise": options.randomise,
        "rows": rows,
    }
    write_record(options.out or RESULTS / "ambiguity.json", figures, checkpoint=checkpoint, device=model.device)


def _options() -> argparse.Namespace:
    p = parser(__doc__)
    p.set_defaults(phantoms=8)
    p.add_argument("--members", type=int, default=5)
    return p.parse_args()


if __name__ == "__main__":
    main()
