"""A checkpoint on both families of phantoms: what is better on one alone has learned a generator and no anatomy.

    python benchmarks/families.py [--checkpoint demo] [--phantoms 8] [--every 6] [--draws 2]

The estimate of one evaluation at the noisiest timestep, averaged over noises: cheap enough to stop a training by, and
no patient takes part. Writes `benchmarks/results/families.json`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

import numpy as np
from cells import RESULTS, Budget, Cells, write_record
from held_out import held_out
from options import parser, read_model

from napari_diffseg.ensemble.dice import dice
from napari_diffseg.synthesis.settings import PhantomFamily

if TYPE_CHECKING:
    import argparse

    from sampling import Model


def main() -> None:
    """Estimate, measure, write."""
    p = parser(__doc__)
    p.set_defaults(phantoms=8)
    p.add_argument("--draws", type=int, default=2, help="noises that the estimate is averaged over")
    options = p.parse_args()
    model, checkpoint = read_model(options)
    rows = [figures(family, model, options) for family in get_args(PhantomFamily)]
    settings = {"phantoms": options.phantoms, "draws": options.draws, "randomise": options.randomise}
    out = options.out or RESULTS / "families.json"
    write_record(out, settings | {"rows": rows}, checkpoint=checkpoint, device=model.device)
    for row in rows:
        print(row)


def figures(family: PhantomFamily, model: Model, options: argparse.Namespace) -> dict[str, Any]:
    """Dice of the estimate with what more than half of all readers mark, over the phantoms of a family."""
    subjects = held_out(
        model.recipe, count=options.phantoms, every=options.every, randomise=options.randomise, family=family
    )
    found = []
    for subject in subjects:
        mean = model.posterior_mean(subject, draws=options.draws, cells=Cells(options.work), budget=Budget(None))
        found.append(round(dice(mean > 0.5, subject.truth), 4))
    return {"family": family, "dice": round(float(np.mean(found)), 4), "lowest": min(found), "of_each": found}


if __name__ == "__main__":
    main()
