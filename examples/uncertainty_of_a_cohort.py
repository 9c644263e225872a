"""Uncertainty figures of a cohort: `python uncertainty_of_a_cohort.py RUNS OUT.csv`.

RUNS is the folder that `napari-diffseg predict CASES... --out RUNS` wrote. For each run: the mean lesion volume of its
members and its spread, and how much of the volume that any member marks is disputed between them.
"""

import csv
import sys
from pathlib import Path

import numpy as np

from napari_diffseg.runs.stored_run import find_runs, read_run

COLUMNS = ("case", "members", "mean_ml", "sd_ml", "any_ml", "disputed_share")


def figures_of(folder: Path) -> dict[str, object]:
    """The row of one run."""
    run = read_run(folder)
    ensemble = run.ensemble()
    members = np.stack([ensemble.member(k).any(axis=0) for k in ensemble.members])
    volumes = members.sum(axis=(1, 2, 3)) * run.grid.voxel_mm3 / 1000
    votes = members.sum(axis=0)
    touched = votes > 0
    disputed = touched & (votes < ensemble.count)
    return {
        "case": folder.name,
        "members": ensemble.count,
        "mean_ml": round(float(volumes.mean()), 3),
        "sd_ml": round(float(volumes.std(ddof=1)), 3) if len(volumes) > 1 else "",
        "any_ml": round(float(touched.sum()) * run.grid.voxel_mm3 / 1000, 3),
        "disputed_share": round(float(disputed.sum() / touched.sum()), 3) if touched.any() else "",
    }


def main(runs: str, out: str) -> None:
    """Write a row for each run."""
    with Path(out).open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, COLUMNS)
        table.writeheader()
        table.writerows(figures_of(folder) for folder in find_runs(Path(runs)))


if __name__ == "__main__":
    main(*sys.argv[1:])
