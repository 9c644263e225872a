"""A finished run on disk, of known masks and without a network."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np

from napari_diffseg.events import Finished, Sampled, SegmentRequest, Started
from napari_diffseg.imaging.case import Case
from napari_diffseg.imaging.volume import Volume
from napari_diffseg.recipe import Recipe
from napari_diffseg.runs.record import RunRecord
from napari_diffseg.runs.run_folder import RunFolder

SHAPE, AXIS, SLICES = (6, 5, 4), 1, (1, 2, 3)
AFFINE = np.array([[-2.0, 0, 0, 3], [0, -1, 0, 4], [0, 0, 3, 5], [0, 0, 0, 1]])


def mask_of(member):
    """(1, slices, X, Z): another for each member."""
    return np.random.default_rng(member).random((1, len(SLICES), 6, 4)) > 0.5


def write_run(folder: Path) -> Started:
    """Leave a run of three members in a folder; the event with which it began."""
    recipe = Recipe(modalities=("t1",), timesteps=4, train_timesteps=8)
    volume = Volume(np.ones(SHAPE, np.float32), AFFINE, None, None, ())
    config = SimpleNamespace(to_dict=lambda: {"in_channels": 2})
    checkpoint = SimpleNamespace(
        path=Path("a.pt"), recipe=recipe, config=config, digest="0" * 64, guesses=(), overrides={}
    )
    run = RunFolder(folder, Case("case_1", {"t1": volume}, None), checkpoint, SegmentRequest(members=3, slices="1:4"))
    started = Started("r", "case_1", "cpu", "fp32", "ddim", 4, (0, 1, 2), SLICES, SLICES, AXIS, SHAPE, recipe.labels, 9)
    ensemble = run.begin(started)
    for k in started.members:
        ensemble.add(k, SLICES, mask_of(k))
        run.keep(Sampled("r", k, SLICES, mask_of(k)), ensemble)
    run.finish(Finished("r", started.members, 1.0, 1), ensemble)
    return started


def make_record(**changes) -> RunRecord:
    """What a finished run of one channel says of itself, but for the changes."""
    recipe = {"labels": ["lesion"], "modalities": ["t1"]}
    least = {"format": 1, "status": "complete", "case": "case_1", "recipe": recipe, "slice_axis": 2, "slices": [0]}
    return RunRecord.model_validate(least | changes)
