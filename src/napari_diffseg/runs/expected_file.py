"""The one-step estimate of a kept run, read from its files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_diffseg.ensemble.expected import ExpectedMask
from napari_diffseg.ensemble.refinement import refine_slices
from napari_diffseg.errors import BadImage
from napari_diffseg.imaging.formats.nifti import read_map
from napari_diffseg.imaging.intensity import brain_mask
from napari_diffseg.imaging.names.naming import shown_name

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt

    from napari_diffseg.events import Started
    from napari_diffseg.imaging.case import Case
    from napari_diffseg.recipe import Recipe


def read_expected(paths: Sequence[Path], started: Started, refined: Sequence[Path] = ()) -> ExpectedMask:
    """The one-step estimate of a whole run, as `RunFolder` wrote it.

    Parameters
    ----------
    paths : sequence of Path
        One file a label.
    started : Started
        The run.
    refined : sequence of Path
        The same of the refined estimate, where there is one.

    Raises
    ------
    BadImage
        If a file of it is damaged, or not on the run's voxels.
    """
    expected = ExpectedMask(started)
    expected.add(started.sampled, _planes(paths, started))
    if refined:
        read_refined(refined, expected)
    return expected


def read_refined(paths: Sequence[Path], expected: ExpectedMask) -> None:
    """Add what files, one for each label, say of the estimate as it was refined.

    Raises
    ------
    BadImage
        If a file of it is missing, damaged, or not on the run's voxels.
    """
    expected.refine(expected.started.sampled, _planes(paths, expected.started))


def _planes(paths: Sequence[Path], started: Started) -> npt.NDArray[np.float32]:
    """What the files hold on the slices that are sampled, (labels, S, U, V)."""
    volumes = [read_map(path) for path in paths]
    for path, volume in zip(paths, volumes, strict=True):
        if volume.shape != started.source_shape:
            raise BadImage(f"{shown_name(path)} has another shape than the members: delete it.")
    planes = np.moveaxis(np.stack([v.data.astype(np.float32) for v in volumes]), started.slice_axis + 1, 1)
    return np.clip(planes[:, list(started.sampled)], 0, 1)


def refine_in_case(expected: ExpectedMask, case: Case, recipe: Recipe) -> None:
    """Refine a one-step estimate that was kept without it, as the run's own engine does."""
    started = expected.started
    refined = refine_slices(
        expected.probability()[0],
        case.volumes[started.refined_by].data,
        brain_mask([case.volumes[m] for m in recipe.modalities if m in case.volumes]),
        slices=started.sampled,
        slice_axis=started.slice_axis,
        window=started.window,
        spacing_mm=started.spacing_mm,
    )
    expected.refine(started.sampled, refined[None])
