"""The engine on this machine: a case and a request in, events out."""

from __future__ import annotations

import time
import uuid
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from napari_diffseg.encode import encode, encode_across
from napari_diffseg.ensemble.window import describe_scope
from napari_diffseg.errors import BadRequest, DiffsegError, RunFailed
from napari_diffseg.events import Finished, Sampled, Started
from napari_diffseg.segmenting.calibrate import seconds_an_evaluation
from napari_diffseg.segmenting.device.choose_device import (
    describe_device,
    precision_name,
    resolve_device,
    resolve_precision,
)
from napari_diffseg.segmenting.device.compile_ahead import compile_ahead
from napari_diffseg.segmenting.device.compile_meanwhile import CompileMeanwhile
from napari_diffseg.segmenting.device.compiled import find_package, uses_compiled
from napari_diffseg.segmenting.device.heap import freed_memory_kept
from napari_diffseg.segmenting.device.memory import (
    BatchLimits,
    choose_batch_size,
    give_back_memory,
    shares_out_rows,
)
from napari_diffseg.segmenting.device.prepare import is_compiled, prepare
from napari_diffseg.segmenting.device.reproducible import reproducibly
from napari_diffseg.segmenting.device.row_parallel import RowParallel
from napari_diffseg.segmenting.device.threads import resolve_threads, threads_used
from napari_diffseg.segmenting.early_stop import expects_early
from napari_diffseg.segmenting.rows import is_sampled_across
from napari_diffseg.segmenting.run import Run, Sampling, sample_run
from napari_diffseg.segmenting.second_plane import Plane
from napari_diffseg.segmenting.tracing import trace_run
from napari_diffseg.segmenting.unused_settings import describe_idle
from napari_diffseg.segmenting.what_if import change_channel

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

    import torch

    from napari_diffseg.checkpoint import Checkpoint
    from napari_diffseg.diffusion.schedule import Schedule
    from napari_diffseg.encode import Conditioning
    from napari_diffseg.events import Focus, Found, SamplingEvent, SegmentRequest, Stepped
    from napari_diffseg.imaging.case import Case
    from napari_diffseg.recipe import Recipe
    from napari_diffseg.segmenting.device.prepare import Prepared
    from napari_diffseg.segmenting.trajectory import Traced
    from napari_diffseg.segmenting.what_if import Change


class LocalSegmenter:
    """Runs the conditioned sampler of one checkpoint on this machine.

    Parameters
    ----------
    checkpoint : Checkpoint
        What to sample with. The network stays on the device between runs.
    preview_interval_s : float or None
        Shortest time between two previews; 0 previews every step, None never.
    beside_viewer : bool
        Whether the processor draws a window meanwhile, which is left its share.
    compile_meanwhile : bool
        Whether the network is compiled for an NVIDIA GPU in another process while a run goes on without, for the runs
        that begin later.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        preview_interval_s: float | None = 1 / 15,
        beside_viewer: bool = False,
        compile_meanwhile: bool = False,
    ) -> None:
        self._checkpoint = checkpoint
        self.compiler = CompileMeanwhile(checkpoint, is_wanted=compile_meanwhile)
        """What compiles the network beside runs; tells how far it is, and can be told to stop."""
        self._beside_viewer = beside_viewer
        self._preview_interval_s = preview_interval_s
        self._limits = BatchLimits()
        self._threads = 1
        """Of the run that goes on."""
        self._rows: int | None = None
        """Of the loaded network on an NVIDIA GPU: once a size is recorded less is free, and another costs again."""
        self._loaded: tuple[torch.device, torch.dtype, Path | None, Prepared] | None = None
        """Where and in which arithmetic a network is ready, what it was compiled to, and the network."""

    def segment(self, case: Case, request: SegmentRequest, *, focus: Focus | None = None) -> Iterator[SamplingEvent]:
        """Sample the ensemble that `request` describes; see `napari_diffseg.events.Segmenter`.

        Raises
        ------
        BadCase
            If the case lacks a modality of the checkpoint's recipe.
        BadRequest
            If the device, the slices or the timesteps cannot be had.
        RunFailed
            If memory runs out even for one slice, the device fails, or the network gives numbers that are not finite.
        """
        began = time.monotonic()
        with self._sampling(f"Case {case.id}: sampling", request):
            run = self._resolve(case, request)
            yield _started(run, case)
            sampling = yield from self._and_compile(run, sample_run(run, focus))
            seconds = time.monotonic() - began
            left_out = sampling.unneeded, sampling.empty
            yield Finished(run.id, request.member_numbers, seconds, sampling.batch_size, *left_out)

    def trace(self, case: Case, request: SegmentRequest) -> Generator[Traced]:
        """Sample as `segment` does, and tell of every step of every member; see `tracing.trace_run`.

        Raises
        ------
        DiffsegError
            As `segment` does.
        """
        with self._sampling(f"Case {case.id}: sampling", request):
            yield from trace_run(self._resolve(case, request))

    def what_if(
        self, case: Case, request: SegmentRequest, change: Change
    ) -> Generator[Stepped | Found, None, Sampling]:
        """Sample as `segment` does, with its noise on its pixels, but for one image.

        Raises
        ------
        DiffsegError
            As `segment` does, and as `what_if.change_channel` does.
        """
        with self._sampling(f"Case {case.id}: sampling", request):
            run = self._resolve(case, request)
            changed = change_channel(run.conditioning, case, run.recipe, change)
            across = run.across
            if across is not None:
                across = replace(across, conditioning=replace(across.conditioning, channels=changed.channels))
            return (yield from sample_run(replace(run, conditioning=changed, across=across)))

    def calibrate(self, request: SegmentRequest) -> float:
        """Seconds that one evaluation of one slice takes with this device and arithmetic; the network stays there.

        Raises
        ------
        BadRequest
            If the device cannot be had.
        RunFailed
            If memory runs out, or the device fails.
        """
        with self._sampling("Measuring the speed", request):
            device = resolve_device(request.device)
            dtype = resolve_precision(request.precision, device)
            network = self._network(device, dtype, compiled=not request.reproducible)
            rows = self._batch_size(request, device, dtype)
            return seconds_an_evaluation(network, self._checkpoint.recipe, rows=rows, device=device)

    def gains_by_compiling(self, request: SegmentRequest) -> bool:
        """Whether `compile_ahead` would make something that runs with this request could use.

        Raises
        ------
        BadRequest
            If the device cannot be had.
        """
        device = resolve_device(request.device)
        if request.reproducible or not uses_compiled(device):
            return False
        return find_package(self._checkpoint, device, resolve_precision(request.precision, device)) is None

    def compile_ahead(self, request: SegmentRequest) -> Generator[float]:
        """Compile the network for a request's device and arithmetic, in another process; see `compiled.compile_ahead`.

        Runs that begin once it is done take it, those before it sample as they are.

        Raises
        ------
        BadRequest
            If the device cannot be had, or gains nothing by it.
        RunFailed
            If the compiler fails.
        """
        device = resolve_device(request.device)
        if not uses_compiled(device):
            raise BadRequest(
                f"Device {device}: networks are compiled for NVIDIA GPUs alone, as elsewhere they become no faster."
            )
        dtype = resolve_precision(request.precision, device)
        if find_package(self._checkpoint, device, dtype) is None:
            yield from compile_ahead(self._checkpoint, device, dtype)

    def _and_compile(
        self, run: Run, events: Generator[Stepped | Found, None, Sampling]
    ) -> Generator[Stepped | Found, None, Sampling]:
        """The events of a run; once it has its first mask, its network is compiled meanwhile, where that is wanted."""
        wanted = not run.request.reproducible
        with closing(events):
            while True:
                try:
                    event = next(events)
                except StopIteration as end:
                    sampling: Sampling = end.value
                    return sampling
                yield event
                if wanted and isinstance(event, Sampled):
                    self.compiler.begin(run.device, run.dtype)
                    wanted = False

    @contextmanager
    def _sampling(self, what: str, request: SegmentRequest) -> Iterator[None]:
        """The surroundings that sampling needs, with whatever goes wrong in them as one sentence."""
        try:
            threads = resolve_threads(request.threads, beside_viewer=self._beside_viewer)
            self._threads = 1 if request.reproducible else threads
            # Threads that share out rows have the cores: others of PyTorch's own would wait for work beside them.
            with (
                threads_used(1 if self._shares_out(request) else threads),
                reproducibly(enabled=request.reproducible),
                freed_memory_kept(),
            ):
                yield
        except DiffsegError:
            raise
        except (RuntimeError, MemoryError) as err:
            reason = (str(err).splitlines() or [type(err).__name__])[0]
            raise RunFailed(f"{what} stopped: {reason}") from err

    def unload(self) -> None:
        """Free the network's memory on the device, and end what is compiled; the next run loads the network again.

        All of it goes back to the system, what PyTorch keeps for later included, unless somebody still holds a run.
        """
        self.compiler.cancel()
        self._loaded = self._rows = None
        give_back_memory()

    def close(self) -> None:
        """Unload, and wait a moment for the end of what is compiled."""
        self.unload()
        self.compiler.close()

    def _resolve(self, case: Case, request: SegmentRequest) -> Run:
        recipe = self._checkpoint.recipe
        device = resolve_device(request.device)
        dtype = resolve_precision(request.precision, device)
        schedule = _schedule(recipe, request.timesteps)
        conditioning = encode(case, recipe, choose=request.slice_indices)
        along = conditioning.grid.slice_axis
        height, width = (n for axis, n in enumerate(case.shape) if axis != along)
        network = self._network(device, dtype, compiled=not request.reproducible)
        size = self._batch_size(request, device, dtype)  # after it: what is free then is for its batches
        return Run(
            id=uuid.uuid4().hex[:12],
            request=request,
            recipe=recipe,
            conditioning=conditioning,
            network=network,
            device=device,
            dtype=dtype,
            schedule=schedule,
            sampler=request.sampler or recipe.sampler,
            batch_size=size,
            opening=min(size, self._at_once(device)) if self._is_soon_seen(request, device) else size,
            at_once=self._at_once(device),
            preview_interval_s=self._preview_interval_s,
            stop_early=self._stops_early(request),
            window=request.window_in((height, width)),
            spacing_mm=case.grid_volume.spacing_mm,
            limits=self._limits,
            across=_across(case, request, conditioning, recipe),
        )

    def _batch_size(self, request: SegmentRequest, device: torch.device, dtype: torch.dtype) -> int:
        """Rows at once: what is asked for is tried, otherwise never more than fitted when memory ran out before."""
        if request.reproducible:
            return 1
        if request.batch_size is not None:
            return request.batch_size
        config, size = self._checkpoint.config, self._checkpoint.recipe.size
        chosen = self._rows or choose_batch_size(
            config,
            size,
            device,
            threads=self._threads,
            watched=self._beside_viewer,
            narrowing=self._stops_early(request),
        )
        if device.type == "cuda":
            self._rows = chosen
        return self._limits.within(chosen, device, dtype)

    def _stops_early(self, request: SegmentRequest) -> bool:
        return self._checkpoint.recipe.stop_early if request.stop_early == "auto" else request.stop_early == "on"

    def _is_soon_seen(self, request: SegmentRequest, device: torch.device) -> bool:
        """Whether the first mask is to come soon: somebody looks, and few rows are several times quicker.

        Not on a GPU, where they take hardly less time than a batch, and each size has to be captured.
        """
        return self._beside_viewer and request.batch_size is None and device.type == "cpu"

    def _at_once(self, device: torch.device) -> int:
        """Rows that take no longer than one: where threads share out rows, one for each but the window's."""
        shared_out = device.type == "cpu" and shares_out_rows(self._checkpoint.config, self._checkpoint.recipe.size)
        return max(1, self._threads - 1) if shared_out else 1

    def _shares_out(self, request: SegmentRequest) -> bool:
        """Whether threads share out the rows of a run's batches."""
        on_processor = resolve_device(request.device).type == "cpu"
        return on_processor and shares_out_rows(self._checkpoint.config, self._checkpoint.recipe.size)

    def _network(self, device: torch.device, dtype: torch.dtype, *, compiled: bool = True) -> Prepared:
        """The network of a run; machine code that was made ahead where it is `compiled`, and there is any by now."""
        package = find_package(self._checkpoint, device, dtype) if compiled else None
        if self._loaded is None or self._loaded[:3] != (device, dtype, package):
            self._loaded = self._rows = None  # the old copy goes before the new one comes
            size, weights = self._checkpoint.recipe.size, self._checkpoint.network()
            self._loaded = device, dtype, package, prepare(weights, size, device=device, dtype=dtype, package=package)
        network = self._loaded[3]
        if isinstance(network, RowParallel):
            network.threads = self._threads
        return network


def _schedule(recipe: Recipe, timesteps: int | None) -> Schedule:
    """The recipe's noise schedule, shortened to the steps asked for."""
    count = timesteps or recipe.timesteps
    total = recipe.train_timesteps
    if count > total:
        raise BadRequest(f"Timesteps {count} exceed the {total} that the checkpoint was trained with: ask for fewer.")
    return recipe.noise_schedule(count)


def _across(case: Case, request: SegmentRequest, conditioning: Conditioning, recipe: Recipe) -> Plane | None:
    """The second plane of a run, if any of its members is sampled there, or its one-step estimate is of both.

    The estimate is, also of one member alone: it stays when members are added.
    """
    other, grid = recipe.across, conditioning.grid
    if other is None or not conditioning.sampled:
        return None
    thickness = case.grid_volume.spacing_mm[grid.slice_axis]
    if not request.samples_second_plane(recipe, slices=grid.n_slices, thickness_mm=thickness):
        return None
    if not (expects_early(recipe) or any(is_sampled_across(k) for k in request.member_numbers)):
        return None
    plane = Plane(other, encode_across(conditioning, case, other))
    return plane if plane.conditioning.sampled else None


def _started(run: Run, case: Case) -> Started:
    """The run as it will be done."""
    slices = case.shape[run.conditioning.grid.slice_axis]
    return Started(
        run_id=run.id,
        case_id=case.id,
        device=describe_device(run.device),
        precision=precision_name(run.dtype),
        compiled=is_compiled(run.network),
        members_across=run.members_across,
        plane_across="" if run.across is None else run.across.recipe.plane,
        slices_across=() if run.across is None else run.across.conditioning.sampled,
        refined_by=run.refined_by,
        sampler=run.sampler,
        timesteps=len(run.schedule.timesteps),
        members=run.request.member_numbers,
        slices=run.conditioning.slices,
        sampled=run.conditioning.sampled,
        slice_axis=run.conditioning.grid.slice_axis,
        source_shape=case.shape,
        labels=run.recipe.labels,
        evaluations=run.evaluations,
        warnings=(
            *run.conditioning.warnings,
            *describe_idle(
                run.request, sampler=run.sampler, slices=slices, has_second_plane=run.recipe.second_plane is not None
            ),
            *describe_scope(
                run.request.slices, run.window, slices=run.conditioning.slices, sampled=run.conditioning.sampled
            ),
        ),
        window=run.window,
        spacing_mm=run.spacing_mm,
        smoothing_mm=run.recipe.smoothing_mm,
        smoothing_slices=run.recipe.smoothing_slices,
        rule=run.recipe.rule,
        label_values=run.recipe.label_values,
    )
