"""One recording of a network's kernels for each batch shape, played again at every step."""

from __future__ import annotations

import logging
import threading
import weakref
from collections import OrderedDict
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import torch

from napari_diffseg.networks.out_of_memory import is_out_of_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from napari_diffseg.networks.compiled_unet import CompiledUNet
    from napari_diffseg.networks.fast_unet import FastUNet

    Work = Callable[[], torch.Tensor]
    _Key = tuple[int, int, tuple[int, ...], bool]
    """Rows, channels, height and width, whether kernels are deterministic."""
    Capture = Callable[[Work], tuple[Callable[[], None], torch.Tensor]]

logger = logging.getLogger(__name__)

_MOST_RECORDINGS = 2
"""A run has batches of one size and a smaller last one."""
_WARM_UPS = 3
_one_at_a_time = threading.Lock()
_beside: dict[torch.device, torch.cuda.Stream] = {}
"""A stream a device for all recordings: libraries keep a workspace for each stream that they ever saw."""
_alive: weakref.WeakSet[_Player] = weakref.WeakSet()
"""All graphs of this process."""


@dataclass(eq=False)
class _Recording:
    """The buffers that a recording reads and writes, and how to play it."""

    x: torch.Tensor
    entry: torch.Tensor
    replay: Callable[[], None]
    out: torch.Tensor
    anchor: torch.Tensor | None
    image: torch.Tensor | None = field(default=None)


class GraphedUNet:
    """A `FastUNet` whose evaluations are played from a recording: one launch instead of hundreds.

    Shapes are fixed within a recording, and so are the buffers: the noisy mask and what the timestep tells are copied
    in, the prediction is copied out. A batch with fewer rows, down to half, is played from what was recorded for more:
    that costs less than to record it. Where the device cannot record, the network is evaluated as it is, in float32 of
    full length, too.

    Parameters
    ----------
    network : FastUNet or CompiledUNet
        On its device.
    capture : callable
        Records a work without arguments that reads fixed buffers; gives how to play it and the buffer that holds its
        result after. By default as a CUDA graph.
    """

    def __init__(self, network: FastUNet | CompiledUNet, *, capture: Capture | None = None) -> None:
        self.network = network
        self.unrecorded = Unrecorded(network)
        device = next(network.network.parameters()).device
        self._capture: Capture | None = capture or partial(capture_on_cuda, device=device)
        self._recordings: OrderedDict[_Key, _Recording] = OrderedDict()

    def conditioned_on(self, image: torch.Tensor) -> Callable[[torch.Tensor, float], torch.Tensor]:
        """The network for one batch of images; as `FastUNet.conditioned_on`."""
        plain = self.unrecorded.conditioned_on(image)

        @torch.inference_mode()  # a recording's buffers are made in it, and may be written to nowhere else
        def predict(x_t: torch.Tensor, timestep: float) -> torch.Tensor:
            recording = self._recording(image, x_t, timestep)
            if recording is None:
                return plain(x_t, timestep)
            rows, channels = len(x_t), image.shape[1]
            if recording.image is not image:
                recording.x[:rows, :channels].copy_(image)
                if recording.anchor is not None and (anchor := self._anchor(image)) is not None:
                    recording.anchor[:rows].copy_(anchor)
                recording.image = image
            recording.x[:rows, channels:].copy_(x_t)
            recording.entry.copy_(self.network.entry(timestep))
            recording.replay()
            return recording.out[:rows].clone()

        return predict

    def _anchor(self, image: torch.Tensor) -> torch.Tensor | None:
        with _without_tf32():
            return self.network.anchor(image)

    def _recording(self, image: torch.Tensor, x_t: torch.Tensor, timestep: float) -> _Recording | None:
        channels = image.shape[1] + x_t.shape[1]
        # Which kernels are chosen depends on the last, too.
        kind = channels, tuple(x_t.shape[2:]), torch.are_deterministic_algorithms_enabled()
        fitting = [key for key in self._recordings if key[1:] == kind and len(x_t) <= key[0] <= 2 * len(x_t)]
        key = min(fitting, default=(len(x_t), *kind))
        if key not in self._recordings:
            self.network.network.check_channels(channels)
            while len(self._recordings) >= _MOST_RECORDINGS:
                self._recordings.popitem(last=False)  # its memory goes before more is taken
            if (made := self._record([image, x_t], timestep)) is None:
                return None
            self._recordings[key] = made
        self._recordings.move_to_end(key)
        return self._recordings[key]

    def _record(self, parts: list[torch.Tensor], timestep: float) -> _Recording | None:
        if self._capture is None:
            return None
        try:
            x = torch.cat(parts, dim=1).contiguous(memory_format=torch.channels_last)
            entry = self.network.entry(timestep).clone()
            anchor = self._anchor(parts[0])
            anchor = anchor if anchor is None else anchor.contiguous(memory_format=torch.channels_last)
            replay, out = self._capture(lambda: self.network.evaluate(x, entry, anchor))
        except RuntimeError as err:
            if is_out_of_memory(err):
                self._recordings.clear()  # whose memory nobody else can free
                raise  # the engine makes the batch smaller
            logger.warning("The network cannot be recorded on this device and runs without, slower: %s", err)
            self._capture = None
            return None
        return _Recording(x, entry, replay, out, anchor)


class Unrecorded:
    """The same network evaluated as it is, for a few rows once: with float32 of full length, as in a recording.

    Parameters
    ----------
    network : FastUNet or CompiledUNet
        On its device.
    """

    def __init__(self, network: FastUNet | CompiledUNet) -> None:
        self.network = network

    def conditioned_on(self, image: torch.Tensor) -> Callable[[torch.Tensor, float], torch.Tensor]:
        """The network for one batch of images; as `FastUNet.conditioned_on`."""
        with _without_tf32():
            evaluate = self.network.conditioned_on(image)

        def predict(x_t: torch.Tensor, timestep: float) -> torch.Tensor:
            with _without_tf32():
                return evaluate(x_t, timestep)

        return predict


def capture_on_cuda(work: Work, *, device: torch.device) -> tuple[Callable[[], None], torch.Tensor]:
    """Record a work as a CUDA graph, after a few runs that let libraries choose their kernels.

    Other threads may use the device meanwhile, but record one after another. float32 is computed as such, without the
    shorter TF32 that convolutions take by default.
    """
    with _one_at_a_time, torch.cuda.device(device), _without_tf32():
        if device not in _beside:
            _beside[device] = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        beside = _beside[device]
        beside.wait_stream(torch.cuda.current_stream())
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.stream(beside):  # a recording that fails leaves its stream behind; this one takes it back
            for _ in range(_WARM_UPS):
                work()
            with torch.cuda.graph(graph, stream=beside, capture_error_mode="thread_local"):
                out = work()
        torch.cuda.current_stream().wait_stream(beside)
        player = _Player(graph)
        _alive.add(player)
    return player, out


class _Player:
    """Plays a graph; with it the graph and its memory go."""

    def __init__(self, graph: torch.cuda.CUDAGraph) -> None:
        self._graph = graph

    def __call__(self) -> None:
        self._graph.replay()


def free_workspaces() -> None:
    """Free what libraries keep for recordings, where there is no graph any more: graphs use it, too."""
    with _one_at_a_time:
        if _alive or not _beside:
            return
        _beside.clear()
        free: Callable[[], None] | None = getattr(torch._C, "_cuda_clearCublasWorkspaces", None)  # noqa: SLF001
        if free is not None:
            free()


@contextmanager
def _without_tf32() -> Iterator[None]:
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before
