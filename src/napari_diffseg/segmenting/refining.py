"""The one-step estimate of a run, refined by the brightness of an image once it has come of all slices."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_diffseg.ensemble.refinement import refine_slices
from napari_diffseg.events import Refined

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_diffseg.ensemble.refinement import Float
    from napari_diffseg.events import Expected
    from napari_diffseg.segmenting.run import Run


class Refining:
    """Gathers the estimate of a run's slices; refines it, once, when it has all of them.

    Parameters
    ----------
    run : Run
        The run; of one that refines nothing, nothing is kept.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._missing = set(run.conditioning.sampled) if run.refined_by else set()
        self._estimate = np.zeros(run.conditioning.brain.shape, np.float32)

    def after(self, expected: Expected) -> Iterator[Refined]:
        """What is refined, now that the estimate of some more slices is there: all of the run's slices, or nothing."""
        if not self._missing:
            return
        by_slice = np.moveaxis(self._estimate, self._run.conditioning.grid.slice_axis, 0)
        by_slice[list(expected.slices)] = expected.probability[0]
        left = self._missing - set(expected.slices)
        if left:
            self._missing = left
            return
        refined = self._refined()  # should memory run out, these slices come once more
        self._missing, self._estimate = set(), np.empty((0, 0, 0), np.float32)
        yield Refined(self._run.id, self._run.conditioning.sampled, refined[None])

    def _refined(self) -> Float:
        run, conditioning = self._run, self._run.conditioning
        channel = conditioning.channels[run.recipe.modalities.index(run.refined_by)]
        assert channel is not None  # refined_by is empty without it
        return refine_slices(
            self._estimate,
            channel.data,
            conditioning.brain,
            slices=conditioning.sampled,
            slice_axis=conditioning.grid.slice_axis,
            window=run.window,
            spacing_mm=run.spacing_mm,
        )
