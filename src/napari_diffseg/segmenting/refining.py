"""The one-step estimate of a run, refined by the brightness of an image once it has come of all slices."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
        self._known: dict[int, Float] = {}
        self._is_done = not run.refined_by

    def after(self, expected: Expected) -> Iterator[Refined]:
        """What is refined, now that the estimate of some more slices is there: all of the run's slices, or nothing."""
        if self._is_done:
            return
        self._known |= {s: expected.probability[0, i] for i, s in enumerate(expected.slices)}
        sampled = self._run.conditioning.sampled
        if len(self._known) < len(sampled):
            return
        self._is_done = True
        planes, self._known = {s: self._known[s] for s in sampled}, {}
        yield Refined(self._run.id, sampled, self._refined(planes)[None])

    def _refined(self, planes: dict[int, Float]) -> Float:
        run, conditioning = self._run, self._run.conditioning
        channel = conditioning.channels[run.recipe.modalities.index(run.refined_by)]
        assert channel is not None  # refined_by is empty without it
        return refine_slices(
            planes,
            channel.data,
            conditioning.brain,
            slice_axis=conditioning.grid.slice_axis,
            window=run.window,
            spacing_mm=run.spacing_mm,
        )
