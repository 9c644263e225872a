"""One run: its rows, batch by batch, through a sampler."""

from __future__ import annotations

import gc
import logging
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from napari_diffseg.ensemble.window import confine
from napari_diffseg.errors import Remedy, RunFailed
from napari_diffseg.events import Sampled, Stepped
from napari_diffseg.networks.out_of_memory import is_out_of_memory
from napari_diffseg.segmenting.chain import chain
from napari_diffseg.segmenting.decoding import Decoder
from napari_diffseg.segmenting.device.prepare import for_few_rows
from napari_diffseg.segmenting.one_step_estimate import OneStepEstimate
from napari_diffseg.segmenting.pacing import Pace, marker_of
from napari_diffseg.segmenting.previews import Previews
from napari_diffseg.segmenting.rows import Row, is_sampled_across, look_elsewhere, of_one_plane, order_rows
from napari_diffseg.segmenting.second_plane import MembersAcross, Plane, SecondPlane

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    import numpy.typing as npt

    from napari_diffseg.diffusion.samplers import SamplerName
    from napari_diffseg.diffusion.schedule import Schedule
    from napari_diffseg.diffusion.step import Step
    from napari_diffseg.encode import Conditioning
    from napari_diffseg.events import Focus, Found, Preview, SegmentRequest, Window
    from napari_diffseg.recipe import Recipe
    from napari_diffseg.segmenting.decoding import Masks
    from napari_diffseg.segmenting.device.memory import BatchLimits
    from napari_diffseg.segmenting.device.prepare import Prepared
    from napari_diffseg.segmenting.rows import Batch

logger = logging.getLogger(__name__)

_MIDDLE: Final = 0.5
"""Of a mask's two values, 0 and 1."""


@dataclass(frozen=True, slots=True)
class Run:
    """A request resolved against a case, a checkpoint and a machine: nothing is 'auto' any more."""

    id: str
    request: SegmentRequest
    recipe: Recipe
    conditioning: Conditioning
    network: Prepared
    device: torch.device
    dtype: torch.dtype
    schedule: Schedule
    sampler: SamplerName
    batch_size: int
    opening: int
    """Rows of the first batch."""
    at_once: int
    """Rows that take no longer than one."""
    preview_interval_s: float | None
    stop_early: bool
    """Whether a mask that is decided takes no further steps; see `EarlyStop`."""
    window: Window | None
    """Where on every slice masks may be; None is everywhere."""
    spacing_mm: tuple[float, float, float]
    """The source's voxel size."""
    limits: BatchLimits
    """Learns how many rows fit."""
    across: Plane | None = None
    """The second plane, in which every second member is sampled; None where all are sampled in the first."""

    @property
    def evaluations(self) -> int:
        """Network evaluations of one slice by one member that the run takes."""
        across = self.members_across
        slices = (self.request.members - len(across)) * len(self.conditioning.sampled)
        if self.across is not None:
            slices += len(across) * len(self.across.conditioning.sampled)
        return slices * len(self.schedule.timesteps)

    @property
    def members_across(self) -> tuple[int, ...]:
        """The members that are sampled in the second plane."""
        if self.across is None:
            return ()
        return tuple(k for k in self.request.member_numbers if is_sampled_across(k))

    @property
    def refined_by(self) -> str:
        """The modality whose brightness the one-step estimate is refined by; empty where it is not."""
        wanted = self.recipe.refine_by
        if wanted is None or self.conditioning.channels[self.recipe.modalities.index(wanted)] is None:
            return ""
        return wanted

    @property
    def rows(self) -> tuple[Row, ...]:
        """All that is to be sampled, in its order."""
        across = () if self.across is None else self.across.conditioning.sampled
        members, slices = self.request.member_numbers, self.conditioning.sampled
        return order_rows(members, slices, focus=self.request.focus, across=across)

    @property
    def expecting(self) -> int | None:
        """The member whose first evaluations are the one-step estimate: the first one in the first plane."""
        across = self.members_across
        return next((k for k in self.request.member_numbers if k not in across), None)

    def plane(self, rows: Batch) -> Plane:
        """The plane that all of some rows are of."""
        if self.across is not None and rows and rows[0].across:
            return self.across
        return Plane(self.recipe, self.conditioning)


@dataclass(slots=True)
class _Progress:
    """What a run has behind it, and what is on its way: steps in the device's queue, a preview, results.

    `done` counts evaluations, those among them that were not needed; `unneeded` counts these, `empty` those among these
    of masks that are empty. `late` are results that the device is still working on, with their batch: they are told
    once its next work is in its queue.
    """

    previews: Previews
    pace: Pace
    decoder: Decoder
    decoder_across: Decoder | None
    members_across: MembersAcross | None
    estimate: OneStepEstimate
    late: list[tuple[Batch, Iterator[Found]]] = field(default_factory=list)
    done: int = 0
    unneeded: int = 0
    empty: int = 0


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a run was sampled: the batch size that memory allowed, and evaluations that were not needed.

    `empty` counts those among `unneeded` of masks that are empty.
    """

    batch_size: int
    unneeded: int
    empty: int


def sample_run(run: Run, focus_now: Focus | None = None) -> Generator[Stepped | Found, None, Sampling]:
    """Sample all rows of a run, first wanted first."""
    if not run.conditioning.sampled:
        yield from _empty_members(run)
    rows = run.rows
    progress, size, most = _begin(run), run.batch_size, run.opening
    focus = run.request.focus
    if _is_worth_a_look(run, rows):
        yield from _first_look(run, rows[:1], progress)
    with _encoder(run) as encode_ahead:
        while rows:
            looked_at = focus_now() if focus_now is not None else None
            if looked_at is not None and looked_at != focus:
                rows, focus = look_elsewhere(rows, looked_at), looked_at
            batch = of_one_plane(rows[: min(size, most)])
            encode_ahead(of_one_plane(rows[len(batch) : len(batch) + size]))
            if (yield from _batch_fits(run, batch, progress)):
                rows, most = rows[len(batch) :], size
                continue
            if len(batch) == 1:
                yield from _tell_late(progress)
                raise RunFailed("Memory ran out for a single slice: close other programs, or choose another device.")
            size = len(batch) // 2
            run.limits.lower(size, run.device, run.dtype)
            _free_memory()
            logger.warning("Memory ran out: going on with %d slices at once.", size)
    yield from _tell_late(progress)
    return Sampling(size, progress.unneeded, progress.empty)


@contextmanager
def _encoder(run: Run) -> Iterator[Callable[[Batch], object]]:
    """Within, what brings the slices of a batch to the network's pixels in a thread, while the one before samples.

    On a processor, which samples with all its threads, it does nothing. A cancel does not wait for it.
    """
    if not works_by_itself(run.device):
        yield lambda batch: None
        return
    thread = ThreadPoolExecutor(1, "encode")
    try:
        yield lambda batch: thread.submit(run.plane(batch).conditioning.image_of, [row.slice_index for row in batch])
    finally:
        thread.shutdown(wait=False, cancel_futures=True)


def works_by_itself(device: torch.device) -> bool:
    """Whether the host has time while the device computes."""
    return device.type != "cpu"


def _begin(run: Run) -> _Progress:
    mark = marker_of(run.device)
    previews = Previews(run.conditioning, run.recipe, interval_s=run.preview_interval_s, mark=mark)
    decoder, across, members = Decoder(run.conditioning, run.recipe, run.device, mark), None, None
    if run.across is not None:
        across = Decoder(run.across.conditioning, run.across.recipe, run.device, mark)
        members = MembersAcross(SecondPlane(run.across.conditioning, run.conditioning), len(run.recipe.labels))
    estimate = OneStepEstimate(run, decoder, across)
    return _Progress(previews, Pace(mark), decoder, across, members, estimate)


def _is_worth_a_look(run: Run, rows: Batch) -> bool:
    """Whether somebody who waits for something to see would wait for a whole batch."""
    first = min(run.opening, len(rows))
    if first and rows[0].across:
        return False
    return run.preview_interval_s is not None and first > run.at_once and len(run.schedule.timesteps) > 1


def _first_look(run: Run, row: Batch, progress: _Progress) -> Iterator[Stepped]:
    """The first step of the first row alone, to show it; its batch takes that step once more, as one of its own."""
    alone = replace(run, network=for_few_rows(run.network))
    try:
        step = next(chain(alone, row)).step
    except (RuntimeError, MemoryError) as err:
        if is_out_of_memory(err):  # the batches will find a way, or say that there is none
            return
        raise
    preview = _preview(run, progress.previews.now(row[0], step))
    yield Stepped(run.id, 0, len(run.schedule.timesteps), step.timestep, progress.done, preview)


def _no_masks(run: Run, slices: int) -> npt.NDArray[np.bool_]:
    grid = run.conditioning.grid
    plane = tuple(n for axis, n in enumerate(grid.source_shape) if axis != grid.slice_axis)
    return np.zeros((len(run.recipe.labels), slices, *plane), np.bool_)


def _empty_members(run: Run) -> Iterator[Sampled]:
    """The members of a run none of whose slices holds brain: final without sampling."""
    for member in run.request.member_numbers:
        yield Sampled(run.id, member, (), _no_masks(run, 0))


def _batch_fits(run: Run, batch: Batch, progress: _Progress) -> Generator[Stepped | Found, None, bool]:
    """Sample one batch; False when memory ran out, with nothing of it kept.

    The handler only notes the failure: the traceback holds the tensors until the handler is left.
    """
    before = progress.done, progress.unneeded, progress.empty
    try:
        yield from _sample_batch(run, batch, progress)
    except (RuntimeError, MemoryError) as err:
        if not is_out_of_memory(err):
            raise
        progress.done, progress.unneeded, progress.empty = before
        progress.late = [(of, events) for of, events in progress.late if of is not batch]
        return False
    for row in batch:
        progress.estimate.first.pop(row, None)
    return True


def _free_memory() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _sample_batch(run: Run, batch: Batch, progress: _Progress) -> Iterator[Stepped | Found]:
    last: Step | None = None
    steps, gone = len(run.schedule.timesteps), 0
    for n, (step, evaluated, empty) in enumerate(chain(run, batch, progress.estimate.first)):
        yield from _tell_late(progress)
        progress.done += len(batch)
        progress.unneeded += len(batch) - evaluated
        progress.empty += gone
        progress.pace.step()
        preview = None if batch[0].across else _preview(run, progress.previews(batch[0], step))
        across = batch[0][:2] if batch[0].across else None
        yield Stepped(run.id, n, steps, step.timestep, progress.done, preview, across)
        if last is None and run.across is not None and not _is_first_seen(run, batch, progress):
            for told in progress.estimate.in_both_planes(len(batch)):
                if isinstance(told, int):  # it takes a while, in which a cancel is seen
                    yield Stepped(run.id, n, steps, step.timestep, progress.done, estimated=told)
                else:
                    yield told
        elif last is None and run.across is None:
            yield from _soon(run, batch, progress, progress.estimate.of(batch, step))
        last, gone = step, empty
    assert last is not None  # a schedule has at least one timestep
    ahead = steps - 1 - n  # where all rows were decided before the end
    progress.done += len(batch) * ahead
    progress.unneeded += len(batch) * ahead
    progress.empty += gone * ahead
    members = _members_across if batch[0].across else _members
    yield from _soon(run, batch, progress, members(run, batch, last, progress))


def _is_first_seen(run: Run, batch: Batch, progress: _Progress) -> bool:
    """Whether a batch is the one that somebody waits for, who looks at its slice: its masks come before the estimate.

    There is another batch in which it can come, as a batch is of one plane; it comes before the first whole member.
    """
    is_looked_at = run.preview_interval_s is not None and run.request.focus is not None
    is_part = not batch[0].across and len(batch) < len(run.conditioning.sampled)
    return is_looked_at and is_part and progress.done == len(batch)


def _soon(run: Run, batch: Batch, progress: _Progress, events: Iterator[Found]) -> Iterator[Found]:
    """The events now; or, where the device works by itself, none yet: the next step goes into its queue first."""
    if works_by_itself(run.device):
        progress.late.append((batch, events))
    else:
        yield from events


def _tell_late(progress: _Progress) -> Iterator[Found]:
    """What the device was still working on; that it cannot be had is no matter of the batch that goes on.

    Raises
    ------
    RunFailed
        If memory runs out: with fewer rows at once it would be tried again, and these rows be missing.
    """
    while progress.late:
        batch, events = progress.late.pop(0)
        try:
            yield from events
        except (RuntimeError, MemoryError) as err:
            if not is_out_of_memory(err):
                raise
            where = f"slice {batch[0].slice_index}, member {batch[0].member}"
            raise RunFailed(f"Memory ran out for the masks from {where} on: close other programs.") from err


def _preview(run: Run, preview: Preview | None) -> Preview | None:
    """The preview as the masks will be: empty outside the window."""
    return preview if preview is None else replace(preview, mask=confine(preview.mask, run.window))


def _members(run: Run, batch: Batch, last: Step, progress: _Progress) -> Iterator[Sampled]:
    """The final masks of a batch, one event for each member in it; the device begins with them now."""
    masks = progress.decoder.masks(last.x, [row.slice_index for row in batch])
    return _masks_of_members(run, batch, masks)


def _masks_of_members(run: Run, batch: Batch, wait: Callable[[], Masks]) -> Iterator[Sampled]:
    masks, are_finite = wait()
    check_finite(batch, are_finite)
    for member, group in groupby(range(len(batch)), key=lambda i: batch[i].member):
        index = list(group)
        slices = tuple(batch[i].slice_index for i in index)
        yield Sampled(run.id, member, slices, confine(masks[:, index], run.window))


def _members_across(run: Run, batch: Batch, last: Step, progress: _Progress) -> Iterator[Sampled]:
    """As `_members`, of slices in the second plane: a member's masks come once it is whole."""
    assert progress.decoder_across is not None
    are_finite = torch.isfinite(last.x).flatten(1).all(dim=1)
    wait = progress.decoder_across.probability(last.x, [row.slice_index for row in batch])
    return _whole_members(run, batch, are_finite, wait, progress)


def _whole_members(
    run: Run, batch: Batch, are_finite: torch.Tensor, wait: Callable[[], npt.NDArray[np.float32]], progress: _Progress
) -> Iterator[Sampled]:
    assert progress.members_across is not None
    probability = wait()
    check_finite(batch, are_finite.cpu().numpy())
    for member, group in groupby(range(len(batch)), key=lambda i: batch[i].member):
        index = list(group)
        slices = [batch[i].slice_index for i in index]
        whole = progress.members_across.add(member, slices, probability[:, index])
        if whole is not None:
            yield Sampled(run.id, member, run.conditioning.sampled, confine(whole > _MIDDLE, run.window))


def check_finite(batch: Batch, are_finite: npt.NDArray[np.bool_]) -> None:
    """Refuse predictions with numbers that are not finite, and name the first; `are_finite` is of each row, (B,).

    Raises
    ------
    RunFailed
        If there are any.
    """
    if not are_finite.all():
        bad = batch[int(np.argmin(are_finite))]
        raise RunFailed(
            f"Slice {bad.slice_index}, member {bad.member}: the network gave numbers that are not finite: "
            "compute in float32, or check the checkpoint.",
            Remedy("precision", "fp32"),
        )
