"""The one-step estimate of a kept run, read from its files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_diffseg.ensemble.expected import ExpectedMask
from napari_diffseg.errors import BadImage
from napari_diffseg.imaging.formats.nifti import read_map
from napari_diffseg.imaging.names.naming import shown_name

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_diffseg.events import Started


def read_expected(paths: Sequence[Path], started: Started) -> ExpectedMask:
    """The one-step estimate of a whole run, as `RunFolder` wrote it.

    Parameters
    ----------
    paths : sequence of Path
        One file a label.
    started : Started
        The run.

    Raises
    ------
    BadImage
        If a file of it is damaged, or not on the run's voxels.
    """
    expected = ExpectedMask(started)
    volumes = [read_map(path) for path in paths]
    for path, volume in zip(paths, volumes, strict=True):
        if volume.shape != started.source_shape:
            raise BadImage(f"{shown_name(path)} has another shape than the members: delete it.")
    planes = np.moveaxis(np.stack([v.data.astype(np.float32) for v in volumes]), started.slice_axis + 1, 1)
    expected.add(started.sampled, np.clip(planes[:, list(started.sampled)], 0, 1))
    return expected
