"""What a sampler that knew the readers' distribution would score: the ceiling of the other benchmarks' figures.

    python benchmarks/exact_sampler.py [--phantoms 8] [--every 6] [--randomise 0.25]

Members are further readers of the same phantoms, drawn from the distribution that those they are compared with come
from; no network takes part. Slices and phantoms are those of `phantom_ensemble.py` with the same options. Writes
`benchmarks/results/exact_sampler.json`.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from cells import RESULTS, write_record
from held_out import READERS, HeldOut, held_out
from phantom_ensemble import COUNTS
from scoring import RULES, score, summary

from napari_diffseg.checkpoint import load_checkpoint, resolve_checkpoint

if TYPE_CHECKING:
    from collections.abc import Iterator

    from held_out import Bool


def main() -> None:
    """Draw, measure, write."""
    options = _options()
    drawn = held_out(
        load_checkpoint(resolve_checkpoint("demo")).recipe,
        count=options.phantoms,
        every=options.every,
        randomise=options.randomise,
        readers=READERS + max(COUNTS),
    )
    pairs = list(parted(drawn))
    figures = {
        "rules": RULES,
        "phantoms": len(pairs),
        "randomise": options.randomise,
        "slices": sum(len(subject.slices) for subject, _ in pairs),
        "rows": [{"members": n} | summary([score(s, masks[:n]) for s, masks in pairs]) for n in COUNTS],
    }
    write_record(options.out or RESULTS / "exact_sampler.json", figures, checkpoint=None, device=torch.device("cpu"))
    for row in figures["rows"]:
        print(row)


def _options() -> argparse.Namespace:
    p = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    p.add_argument("--phantoms", type=int, default=8)
    p.add_argument("--every", type=int, default=6, help="keep one slice in so many")
    p.add_argument("--randomise", type=float, help="contrasts; by default as a training has them")
    p.add_argument("--out", type=Path, help="the JSON to write; by default in benchmarks/results")
    return p.parse_args()


def parted(drawn: Iterator[HeldOut]) -> Iterator[tuple[HeldOut, Bool]]:
    """Each phantom with the readers that are compared with, and the others as members, (K, S, U, V)."""
    for subject in drawn:
        yield replace(subject, readers=subject.readers[:READERS]), subject.readers[READERS:]


if __name__ == "__main__":
    main()
