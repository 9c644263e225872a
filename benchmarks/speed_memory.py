"""Peak memory of one process that holds an ensemble of whole volumes; `speed_runs.py` starts it.

    python benchmarks/speed_memory.py MEMBERS CHECKPOINT DEVICE

Loads the checkpoint, samples a member of a few slices of a 240 x 240 x 155 phantom, then fills an ensemble with
MEMBERS members of random blobs in every slice and takes all its maps. Prints MiB as JSON.
"""

from __future__ import annotations

import json
import resource
import sys
from typing import TYPE_CHECKING

import numpy as np
import psutil
import torch
from held_out import phantom_case

from napari_diffseg.checkpoint import load_checkpoint, resolve_checkpoint
from napari_diffseg.events import Sampled, SegmentRequest, Started
from napari_diffseg.segmenting.ensemble import Ensemble
from napari_diffseg.segmenting.segmenter import LocalSegmenter
from napari_diffseg.synthesis.phantom import PhantomSettings, make_phantom

if TYPE_CHECKING:
    from napari_diffseg.imaging.case import Case


def main() -> None:
    """Fill and print."""
    members, name, device = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    segmenter = LocalSegmenter(load_checkpoint(resolve_checkpoint(name)))
    small = phantom_case(make_phantom(PhantomSettings(seed=1, shape=(60, 60, 39), spacing_mm=(4.0, 4.0, 4.0))), "small")
    _sample(segmenter, small, device, members=1)
    loaded = psutil.Process().memory_info().rss
    settings = PhantomSettings(seed=2, shape=(240, 240, 155), spacing_mm=(1.0, 1.0, 1.0), readers=1)
    ensemble = _sample(segmenter, phantom_case(make_phantom(settings), "large"), device, members=members)
    rng = np.random.default_rng(0)
    for k in ensemble.begun:
        for s in ensemble.slices:
            row = int(rng.integers(60, 160))
            mask = np.zeros((1, 1, 240, 240), np.bool_)
            mask[..., row : row + 30, 100:140] = True
            ensemble.add(k, [s], mask)
    maps = [ensemble.mean(), ensemble.variance(), ensemble.entropy(), ensemble.consensus(), ensemble.whole()]
    assert len(maps) == 5
    assert ensemble.count == members
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    figures = {"loaded_mib": loaded >> 20, "above_loaded_mib": (peak - loaded) >> 20}
    if torch.cuda.is_available():
        figures["device_mib"] = torch.cuda.max_memory_allocated() >> 20
    print(json.dumps(figures))


def _sample(segmenter: LocalSegmenter, case: Case, device: str, *, members: int) -> Ensemble:
    """One step of two slices by every member, then an ensemble of all slices that has them."""
    middle = case.shape[2] // 2
    request = SegmentRequest(members=members, timesteps=1, device=device, slices=f"{middle}:{middle + 1}")
    sampled = []
    for event in segmenter.segment(case, request):
        match event:
            case Started():
                started = event
            case Sampled():
                sampled.append(event)
    depth = range(case.shape[2])
    ensemble = Ensemble(started.labels, started.source_shape, started.slice_axis, depth, depth)
    for event in sampled:
        ensemble.add(event.member, event.slices, event.mask)
    return ensemble


if __name__ == "__main__":
    main()
