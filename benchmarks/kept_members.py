"""Runs whose members stay on disk: how they are summed up can be measured again without sampling them."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_diffseg.ensemble.ensemble import Ensemble
from napari_diffseg.events import Found, Started
from napari_diffseg.imaging.atomic import atomic_write

if TYPE_CHECKING:
    from pathlib import Path

    from napari_diffseg.checkpoint import Checkpoint
    from napari_diffseg.events import SegmentRequest
    from napari_diffseg.imaging.case import Case
    from napari_diffseg.segmenting.segmenter import LocalSegmenter

_CHANGES_NO_MEMBER = ("title", "smoothing_mm", "smoothing_slices", "rule", "trained_on", "licence")


def ensemble_of(
    case: Case, segmenter: LocalSegmenter, checkpoint: Checkpoint, request: SegmentRequest, *, folder: Path | None
) -> Ensemble:
    """The ensemble of a run, sampled or as it lies in `folder`.

    Parameters
    ----------
    case : Case
        What is segmented.
    segmenter, checkpoint : LocalSegmenter, Checkpoint
        The one of the other.
    request : SegmentRequest
        The run.
    folder : Path or None
        Where members are kept; None: nowhere.
    """
    events = segmenter.segment(case, request)
    started = next(iter(events))
    assert isinstance(started, Started)
    ensemble = Ensemble.for_run(started)
    path = None if folder is None else folder / f"{_key(case, checkpoint, request)}.npz"
    if path is not None and path.exists():
        _read(path, ensemble, started)
        return ensemble
    for event in events:
        if isinstance(event, Found):
            ensemble.take(event)
    if path is not None:
        _write(path, ensemble, started)
    return ensemble


def _write(path: Path, ensemble: Ensemble, started: Started) -> None:
    members = np.stack([_planes(ensemble.member(k), started) for k in started.members])
    known = ensemble.expected
    arrays: dict[str, Any] = {"members": np.packbits(members), "shape": np.array(members.shape)}
    if known is not None and known.is_complete:
        arrays["expected"] = _planes(known.probability(), started).astype(np.float16)
        if (refined := known.refined()) is not None:
            arrays["refined"] = _planes(refined, started).astype(np.float16)
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(path, lambda file: np.savez(file, **arrays), overwrite=True)


def _read(path: Path, ensemble: Ensemble, started: Started) -> None:
    with np.load(path, allow_pickle=False) as kept:
        shape = tuple(int(n) for n in kept["shape"])
        members = np.unpackbits(kept["members"], count=int(np.prod(shape))).reshape(shape).astype(np.bool_)
        if "expected" in kept:
            ensemble.expect(started.slices, kept["expected"].astype(np.float32))
        if "refined" in kept:
            ensemble.refine(started.slices, kept["refined"].astype(np.float32))
    for k, mask in zip(started.members, members, strict=True):
        ensemble.add(k, started.slices, mask)


def _planes(volume: Any, started: Started) -> Any:
    """(labels, X, Y, Z) as the run's slices, (labels, S, U, V)."""
    return np.moveaxis(volume, started.slice_axis + 1, 1)[:, list(started.slices)]


def _key(case: Case, checkpoint: Checkpoint, request: SegmentRequest) -> str:
    """All that decides the members, and nothing else."""
    weights = hashlib.sha256()
    for name in sorted(checkpoint.state):
        weights.update(name.encode() + checkpoint.state[name].float().numpy().tobytes())
    recipe = checkpoint.recipe.model_dump(mode="json", exclude_defaults=True)
    told = {
        "one-step estimate": "of both views" if checkpoint.recipe.mirror else "of the first member",
        "weights": weights.hexdigest(),
        "recipe": {name: value for name, value in recipe.items() if name not in _CHANGES_NO_MEMBER},
        "request": request.model_dump(mode="json", exclude={"threads", "batch_size"}, exclude_defaults=True),
        "images": {name: volume.digest for name, volume in case.volumes.items()},
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:24]
