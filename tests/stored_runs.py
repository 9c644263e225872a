"""A finished run on disk, of known masks and without a network."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np

from napari_diffseg.events import Expected, Finished, Sampled, SegmentRequest, Started
from napari_diffseg.imaging.case import Case
from napari_diffseg.imaging.volume import Volume
from napari_diffseg.networks.config import UNetConfig
from napari_diffseg.recipe import Recipe
from napari_diffseg.runs.record import RunRecord
from napari_diffseg.runs.run_folder import RunFolder

SHAPE, AXIS, SLICES = (6, 5, 4), 1, (1, 2, 3)
AFFINE = np.array([[-2.0, 0, 0, 3], [0, -1, 0, 4], [0, 0, 3, 5], [0, 0, 0, 1]])


def mask_of(member):
    """(1, slices, X, Z): another for each member."""
    return np.random.default_rng(member).random((1, len(SLICES), 6, 4)) > 0.5


def make_run_folder(folder: Path, **recipe) -> RunFolder:
    """A folder for a run of three members of a checkpoint that is never asked; `recipe` is what else it promises."""
    volume = Volume(np.ones(SHAPE, np.float32), AFFINE, None, None, ())
    config = UNetConfig(2, 32, 1, 1, (), (1,))
    promised = Recipe(modalities=("t1",), timesteps=4, train_timesteps=8, **recipe)
    checkpoint = SimpleNamespace(
        path=Path("a.pt"), recipe=promised, config=config, digest="0" * 64, guesses=(), overrides={}
    )
    request = SegmentRequest(members=3, slices="1:4")
    return RunFolder(folder, Case("case_1", {"t1": volume}, None), checkpoint, request)


def write_run(folder: Path, *, masks=None, one_step=None, **recipe) -> Started:
    """Leave a run in a folder; the event with which it began.

    `masks` are its members, (1, slices, X, Z), three of `mask_of` by default; `one_step` its one-step estimate.
    """
    run = make_run_folder(folder, **recipe)
    masks = [mask_of(k) for k in range(3)] if masks is None else masks
    promised, members = run.checkpoint.recipe, tuple(range(len(masks)))
    started = Started(
        "r", "case_1", "cpu", "fp32", "ddim", 4, members, SLICES, SLICES, AXIS, SHAPE, promised.labels, 9,
        spacing_mm=(2.0, 1.0, 3.0), smoothing_mm=promised.smoothing_mm, rule=promised.rule,
        label_values=promised.label_values,
    )  # fmt: skip
    writer = run.begin(started)
    if one_step is not None:
        writer.keep_expected(Expected("r", SLICES, one_step))
    for k in members:
        writer.keep(Sampled("r", k, SLICES, masks[k]))
    writer.finish(Finished("r", members, 1.0, 1))
    return started


def make_record(**changes) -> RunRecord:
    """What a finished run of one channel says of itself, but for the changes."""
    recipe = {"labels": ["lesion"], "modalities": ["t1"]}
    least = {"format": 1, "status": "complete", "case": "case_1", "recipe": recipe, "slice_axis": 2, "slices": [0]}
    return RunRecord.model_validate(least | changes)
