"""A run that yields every denoising step, not only its end."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from napari_diffseg.ensemble.window import confine
from napari_diffseg.segmenting.chain import chain
from napari_diffseg.segmenting.decoding import Decoder
from napari_diffseg.segmenting.pacing import marker_of
from napari_diffseg.segmenting.rows import order_rows
from napari_diffseg.segmenting.run import check_finite
from napari_diffseg.segmenting.trajectory import Traced

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_diffseg.segmenting.rows import Batch
    from napari_diffseg.segmenting.run import Run


def trace_run(run: Run) -> Iterator[Traced]:
    """Every step of all rows of a run, batch by batch; each batch from its first step to its last.

    As all noise is a function of seed, member, slice and step, a trace goes the way that the run went: its last masks
    are the run's, but for the few voxels whose prediction lies within rounding of the threshold.

    Yields
    ------
    Traced
        Of the first label.

    Raises
    ------
    RunFailed
        If the network gives numbers that are not finite.
    """
    members = [k for k in run.request.member_numbers if k not in run.members_across]
    rows = order_rows(members, run.conditioning.sampled, focus=run.request.focus)
    for start in range(0, len(rows), run.batch_size):
        yield from _trace_batch(run, rows[start : start + run.batch_size])


def _trace_batch(run: Run, batch: Batch) -> Iterator[Traced]:
    """Every step of a batch; where all its rows are decided before the end, they stay as they are until there."""
    timesteps = [run.schedule.timestep(index) for index in reversed(range(len(run.schedule)))]
    traced: Traced | None = None
    decoder = Decoder(run.conditioning, run.recipe, run.device, marker_of(run.device))
    for n, (step, *_) in enumerate(chain(run, batch), start=1):
        slices = [row.slice_index for row in batch]
        evidence, masks = decoder.probability(step.x0, slices), decoder.masks(step.x0, slices)
        mask, are_finite = masks()
        check_finite(batch, are_finite)
        traced = Traced(
            step=n,
            steps=len(timesteps),
            timestep=step.timestep,
            rows=tuple((row.member, row.slice_index) for row in batch),
            evidence=confine(evidence()[0], run.window),
            mask=confine(mask[0], run.window),
        )
        yield traced
    assert traced is not None  # a schedule has at least one timestep
    for n in range(traced.step, len(timesteps)):
        yield replace(traced, step=n + 1, timestep=timesteps[n])
