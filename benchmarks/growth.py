"""How the time of a run grows with members, slices and steps: the slope of log(seconds) over log(number).

    python benchmarks/growth.py [--device cpu] [--repeats 3]

A network of the shipped one's kind, but small and with random weights, on the shipped case; batches of one size, so
that filling them plays no part.
"""

from __future__ import annotations

import json
import statistics
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from cells import RESULTS, others_load, write_record
from options import parser
from speed_runs import DEMO

from napari_diffseg.checkpoint import load_checkpoint, resolve_checkpoint
from napari_diffseg.events import SegmentRequest
from napari_diffseg.imaging.case import read_case
from napari_diffseg.networks.unet import UNet
from napari_diffseg.segmenting.device.choose_device import resolve_device
from napari_diffseg.segmenting.segmenter import LocalSegmenter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_diffseg.checkpoint import Checkpoint
    from napari_diffseg.imaging.case import Case

_SHARED: dict[str, Any] = {"members": 4, "slices": 4, "timesteps": 10}
_COUNTS = {"members": (4, 8, 16, 32), "slices": (4, 8, 16, 32), "timesteps": (10, 20, 40, 80)}
_BATCH = 8


def main() -> None:
    """Measure and write."""
    p = parser(__doc__)
    p.add_argument("--repeats", type=int, default=3)
    options = p.parse_args()
    device = resolve_device(options.device)
    checkpoint = small_network(load_checkpoint(resolve_checkpoint("demo")))
    segmenter = LocalSegmenter(checkpoint, preview_interval_s=None)
    case = read_case(DEMO)
    _run(segmenter, case, options.device, _SHARED)  # warms up
    growth = {name: _growth(segmenter, case, options, name) for name in _COUNTS}
    figures = {"network": "small", "growth": growth, "busy": others_load()}
    file = "growth.json" if device.type == "cpu" else "growth_gpu.json"
    write_record(options.out or RESULTS / file, figures, checkpoint=None, device=device)
    print(json.dumps(figures, indent=1))


def small_network(checkpoint: Checkpoint) -> Checkpoint:
    """A network of 32 channels and three levels with random weights, to be used as the checkpoint's."""
    config = replace(checkpoint.config, model_channels=32, channel_mult=(1, 1, 2), num_res_blocks=1)
    generator = torch.Generator().manual_seed(0)
    state = {
        name: 0.05 * torch.randn(value.shape, generator=generator) if value.ndim > 1 else value
        for name, value in UNet(config).state_dict().items()
    }
    return replace(checkpoint, config=config, state=state)


def exponent(counts: Sequence[int], seconds: Sequence[float]) -> float:
    """Of the power law that fits best."""
    return round(float(np.polyfit(np.log(counts), np.log(seconds), 1)[0]), 3)


def _growth(segmenter: LocalSegmenter, case: Case, options: Any, name: str) -> dict[str, Any]:
    counts = _COUNTS[name]
    taken: dict[int, list[float]] = {n: [] for n in counts}
    for _ in range(options.repeats):
        for n in counts:  # by turns: what else the machine does falls on all of them
            taken[n].append(_run(segmenter, case, options.device, _SHARED | {name: n}))
    seconds = [round(statistics.median(taken[n]), 3) for n in counts]
    others = {key: value for key, value in _SHARED.items() if key != name}
    return {"counts": list(counts), "others": others, "seconds": seconds, "exponent": exponent(counts, seconds)}


def _run(segmenter: LocalSegmenter, case: Case, device: str, numbers: dict[str, int]) -> float:
    """Seconds of a whole run, from the request on."""
    first = (case.shape[2] - numbers["slices"]) // 2
    slices = f"{first}:{first + numbers['slices']}"
    request = SegmentRequest(**(numbers | {"slices": slices}), device=device, batch_size=_BATCH)
    began = time.perf_counter()
    for _ in segmenter.segment(case, request):
        pass
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
