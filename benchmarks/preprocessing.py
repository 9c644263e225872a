"""What other ways to prepare images would give: the one-step estimate of real cases and of both families of phantoms.

    python benchmarks/preprocessing.py [--cases DIR] [--only case_006] [--phantoms 4] [--family mixture] [--every 8]

Each case is prepared in every way, as it is and with a bias field of 20 %. Writes
`benchmarks/results/preprocessing.json` after each case, figures only; `--resume` goes on with the rows of an earlier
command with the same settings.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from bias_field import without_bias
from cells import RESULTS, write_record
from changes import CHANGES, Scene, gamma
from options import read_model
from robustness import earlier_rows, one_step, options_of, scenes, settings_of

from napari_diffseg.ensemble.dice import dice
from napari_diffseg.evaluation.metrics.calibration import reliability
from napari_diffseg.evaluation.metrics.error_detection import auroc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from changes import Bool, Float
    from robustness import Estimate

_LOW = 0.4
_AS_IT_IS = "as it is"
_BIAS = "bias field of 20 %"


def main() -> None:
    """Prepare, estimate, compare, write."""
    options = options_of(__doc__, every=8)
    model, checkpoint = read_model(options)
    out = options.out or RESULTS / "preprocessing.json"
    settings = settings_of(options, model) | {"measure": "one-step estimate"}
    rows = earlier_rows(out, settings) if options.resume else []
    for name, scene in scenes(options, model.recipe.modalities):
        if name not in {row["case"] for row in rows}:
            rows += [{"case": name} | row for row in compared(scene, one_step(model), every=options.every)]
        write_record(out, settings | {"ways": summary(rows), "rows": rows}, checkpoint=checkpoint, device=model.device)
        print(name, flush=True)
    for row in summary(rows):
        print(row)


def compared(scene: Scene, estimate: Estimate, *, every: int) -> Iterator[dict[str, Any]]:
    """A row for each way, of the case as it is and with a bias field."""
    slices = range(0, scene.brain.shape[2], every)
    truth, brain = scene.maps["truth"][..., slices] > 0.5, scene.brain[..., slices]
    for name, change in {_AS_IT_IS: _unchanged, _BIAS: CHANGES[_BIAS]}.items():
        seen = change(scene)
        p = {version: estimate(make(seen), slices) for version, make in VERSIONS.items()}
        for way, averaged in WAYS.items():
            mean = np.mean([p[version] for version in averaged], axis=0)
            yield {"images": name, "way": way, **_figures(mean, truth, brain)}
        low = round(dice(p[_AS_IT_IS] > _LOW, truth), 4)
        yield {"images": name, "way": f"{_AS_IT_IS}, mask above {_LOW}", "dice": low}


def _figures(p: Float, truth: Bool, brain: Bool) -> dict[str, Any]:
    """Dice of the mask above a half, the AUROC of p (1 - p) for its errors, and the ECE within the brain."""
    mask = p > 0.5
    return {
        "dice": round(dice(mask, truth), 4),
        "auroc": round(float(auroc((p * (1 - p))[brain], (mask != truth)[brain])), 4),
        "ece": round(reliability(p[brain], truth[brain].astype(np.float32), bins=10).ece, 5),
    }


def summary(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The means over cases and over phantoms of each way, and the lowest Dice."""
    found = []
    for group, images, way in dict.fromkeys((_group(row), row["images"], row["way"]) for row in rows):
        own = [row for row in rows if (_group(row), row["images"], row["way"]) == (group, images, way)]
        measured = [name for name in ("dice", "auroc", "ece") if name in own[0]]
        means = {name: round(float(np.mean([row[name] for row in own])), 5) for name in measured}
        lowest = min(row["dice"] for row in own)
        found.append({"of": group, "count": len(own), "images": images, "way": way, **means, "lowest": lowest})
    return found


def _group(row: Mapping[str, Any]) -> str:
    name = str(row["case"])
    return "phantoms" if name.startswith(("glioma-", "lowgrade-")) else "real cases"


def _unchanged(scene: Scene) -> Scene:
    return scene


def clipped(low: float, high: float) -> Callable[[Scene], Scene]:
    """Each image clipped to two percentiles of its brain."""

    def change(scene: Scene) -> Scene:
        ends = {m: np.percentile(a[a != 0], [low, high]) for m, a in scene.images.items()}
        images = {m: np.where(a != 0, np.clip(a, *ends[m]), 0).astype(np.float32) for m, a in scene.images.items()}
        return replace(scene, images=images)

    return change


VERSIONS: Mapping[str, Callable[[Scene], Scene]] = {
    _AS_IT_IS: _unchanged,
    "linear bias field removed": without_bias(1),
    "quadratic bias field removed": without_bias(2),
    "clipped to the 1st and 99th percentile": clipped(1, 99),
    "gamma 0.8": gamma(0.8),
    "gamma 1.25": gamma(1.25),
}
WAYS: Mapping[str, tuple[str, ...]] = {
    **{name: (name,) for name in VERSIONS},
    "mean over gamma 0.8, 1 and 1.25": (_AS_IT_IS, "gamma 0.8", "gamma 1.25"),
    "mean over with and without a linear bias field": (_AS_IT_IS, "linear bias field removed"),
}
"""What the estimate is averaged over."""


if __name__ == "__main__":
    main()
