"""How smooth napari stays while the panel samples: needs an X display or Xvfb.

    xvfb-run -a -s "-screen 0 1600x1000x24" python benchmarks/viewer.py [--seconds 8] [--rounds 5] [--compute process]

In one viewer with the shipped case and checkpoint and the panel, by turns: nothing happens; the engine samples in the
plugin's worker thread and shows nothing; the panel's own Run button, from the click on. A timer of one millisecond
beats in the window's event loop, and the gaps between its beats are what a person feels. With `--compute` the engine is
in another process, here or at user@host, and there is no turn without a picture.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from cells import RESULTS, others_load, write_record
from options import parser

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from viewer_bench import Clock

TARGETS = {
    "p99 gap beyond idle, ms": 50.0,
    "worst gap beyond idle, ms": 150.0,
    "window's work a preview, ms": 5.0,
    "first preview, s": 0.5,
    "previews a second, at least": 10.0,
}


def main() -> None:
    """Measure and write."""
    p = parser(__doc__)
    p.add_argument("--seconds", type=float, default=8.0, help="of each turn")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--compute", help="process, or user@host; default: in the panel's own process")
    options = p.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"):  # a person's settings stay as they are
            os.environ[name] = folder
        os.environ["NAPARI_CONFIG"] = str(Path(folder) / "napari.yaml")  # read when napari is imported
        print(json.dumps(_measured(options, Path(folder)), indent=1))


def _measured(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    from napari.utils.notifications import notification_manager
    from viewer_bench import Bench

    from napari_diffseg.checkpoint import load_checkpoint, resolve_checkpoint
    from napari_diffseg.remote.computer import parse_computer
    from napari_diffseg.segmenting.device.choose_device import resolve_device

    checkpoint, device = load_checkpoint(resolve_checkpoint(options.checkpoint)), resolve_device(options.device)
    with notification_manager:  # without it, PyQt6 ends the process at an error in a slot
        computer = None if options.compute is None else parse_computer(options.compute)
        bench = Bench(folder, options.checkpoint, options.device, computer)
        try:
            bench.warm_up()
            for _ in range(options.rounds):
                bench.idle(options.seconds)
                if computer is None:
                    bench.unseen(options.seconds)
                bench.streaming(options.seconds)
        finally:
            bench.close()
    figures = summarise(bench.clock) | {"rounds": options.rounds, "seconds": options.seconds, "busy": others_load()}
    figures |= {} if computer is None else {"compute": computer.name}
    name = "viewer.json" if device.type == "cpu" else "viewer_gpu.json"
    name = name if computer is None else "viewer_remote.json"
    write_record(options.out or RESULTS / name, figures, checkpoint=checkpoint, device=device)
    return figures


def summarise(clock: Clock) -> dict[str, Any]:
    """The figures of all turns, and what was wanted beside what was found."""
    gaps = {turn: _spread(all_) for turn, all_ in clock.gaps.items()}
    took = {work: _spread(all_) for work, all_ in clock.took.items()}
    found = {
        "p99 gap beyond idle, ms": round(gaps["streaming"]["p99"] - gaps["idle"]["p99"], 2),
        "worst gap beyond idle, ms": round(gaps["streaming"]["worst"] - gaps["idle"]["worst"], 2),
        "window's work a preview, ms": took["preview"]["p50"],
        "first preview, s": round(float(np.median(clock.first_preview_s)), 3),
        "previews a second, at least": round(clock.shown / clock.shown_s, 2),
    }
    return {
        "gaps_ms": gaps,
        "took_ms": took,
        "first_preview_s": [round(s, 3) for s in clock.first_preview_s],
        "previews_made_a_second": round(clock.made / clock.shown_s, 2),
        "found": found,
        "wanted": TARGETS,
    }


def _spread(values: Sequence[float]) -> dict[str, float]:
    p50, p99 = np.quantile(values, (0.5, 0.99))
    figures = {"p50": float(p50), "p99": float(p99), "worst": max(values)}
    return {name: round(value, 2) for name, value in figures.items()} | {"count": len(values)}


if __name__ == "__main__":
    main()
