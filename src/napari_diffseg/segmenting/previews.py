"""One slice of a batch on its way to the screen, now and then."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from napari_diffseg.decode import decode_preview
from napari_diffseg.events import Preview
from napari_diffseg.segmenting.pacing import HostCopy

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_diffseg.diffusion.step import Step
    from napari_diffseg.encode import Conditioning
    from napari_diffseg.recipe import Recipe
    from napari_diffseg.segmenting.pacing import Mark
    from napari_diffseg.segmenting.rows import Row


class Previews:
    """Previews of a run, at most one in an interval; a GPU's come some steps late, and no step waits for them.

    Parameters
    ----------
    conditioning : Conditioning
        Of the case; says where its voxels are.
    recipe : Recipe
        Says what the numbers mean.
    interval_s : float or None
        Time between two, on average at least; None for none at all.
    mark : callable or None
        As `marker_of` gives it for the device.
    """

    def __init__(
        self, conditioning: Conditioning, recipe: Recipe, *, interval_s: float | None, mark: Callable[[], Mark] | None
    ) -> None:
        self._grid, self._rim = conditioning.grid, conditioning.rim
        self._recipe, self._interval_s, self._mark = recipe, interval_s, mark
        self._due = -float("inf")
        self._coming: tuple[Row, HostCopy] | None = None

    def __call__(self, row: Row, step: Step) -> Preview | None:
        """After a step whose first row is `row`: the preview that is ready, if one is."""
        if self._coming is None and self._is_due():
            self._coming = row, self._copy(step)
        if self._coming is None or not self._coming[1].is_ready():
            return None
        return self._take()

    def now(self, row: Row, step: Step) -> Preview:
        """The preview of a step's first row, which is waited for; the next one is due an interval later."""
        self._coming = row, self._copy(step)
        self._due = time.monotonic() + (self._interval_s or 0.0)
        return self._take()

    def _copy(self, step: Step) -> HostCopy:
        return HostCopy([step.x0[0, 0], step.x[0, 0]], self._mark)

    def _take(self) -> Preview:
        assert self._coming is not None
        (row, copy), self._coming = self._coming, None
        x0, sample = copy.arrays()
        mask = decode_preview(x0, self._grid, self._recipe, rim=self._rim, slice_index=row.slice_index)
        return Preview(row.member, row.slice_index, mask, self._grid.to_source(sample[None], fill=0.0)[0])

    def _is_due(self) -> bool:
        """Whether it is time; the next one then counts from when this one was due, not from when its step came.

        Otherwise a step that takes a little less than the interval would halve the rate. Of a step that came late,
        half an interval is made up for, so that none comes at once after another.
        """
        now = time.monotonic()
        if self._interval_s is None or now < self._due:
            return False
        self._due = max(self._due + self._interval_s, now + self._interval_s / 2)
        return True
