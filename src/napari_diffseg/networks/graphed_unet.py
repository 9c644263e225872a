"""One recording of a network's kernels for each batch shape, played again at every step."""

from __future__ import annotations

import logging
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_diffseg.networks.fast_unet import FastUNet

    Work = Callable[[], torch.Tensor]
    Capture = Callable[[Work], tuple[Callable[[], None], torch.Tensor]]

logger = logging.getLogger(__name__)

_MOST_RECORDINGS = 2
"""A run has batches of one size and a smaller last one."""
_WARM_UPS = 3


@dataclass(eq=False)
class _Recording:
    """The buffers that a recording reads and writes, and how to play it."""

    x: torch.Tensor
    entry: torch.Tensor
    replay: Callable[[], None]
    out: torch.Tensor
    image: torch.Tensor | None = field(default=None)


class GraphedUNet:
    """A `FastUNet` whose evaluations are played from a recording: one launch instead of hundreds.

    Shapes are fixed within a recording, and so are the buffers: the noisy mask and what the timestep tells are copied
    in, the prediction is copied out. Where the device cannot record, the network is evaluated as it is.

    Parameters
    ----------
    network : FastUNet
        On its device.
    capture : callable
        Records a work without arguments that reads fixed buffers; gives how to play it and the buffer that holds its
        result after. By default as a CUDA graph.
    """

    def __init__(self, network: FastUNet, *, capture: Capture | None = None) -> None:
        self.network = network
        self._capture: Capture | None = capture or capture_on_cuda
        self._recordings: OrderedDict[tuple[int, ...], _Recording] = OrderedDict()

    def conditioned_on(self, image: torch.Tensor) -> Callable[[torch.Tensor, float], torch.Tensor]:
        """The network for one batch of images; as `FastUNet.conditioned_on`."""
        plain = self.network.conditioned_on(image)

        @torch.no_grad()
        def predict(x_t: torch.Tensor, timestep: float) -> torch.Tensor:
            recording = self._recording(image, x_t, timestep)
            if recording is None:
                return plain(x_t, timestep)
            channels = image.shape[1]
            if recording.image is not image:
                recording.x[:, :channels].copy_(image)
                recording.image = image
            recording.x[:, channels:].copy_(x_t)
            recording.entry.copy_(self.network.entry(timestep))
            recording.replay()
            return recording.out.clone()

        return predict

    def _recording(self, image: torch.Tensor, x_t: torch.Tensor, timestep: float) -> _Recording | None:
        shape = (len(x_t), image.shape[1] + x_t.shape[1], *x_t.shape[2:])
        if shape not in self._recordings:
            self.network.network.check_channels(shape[1])
            while len(self._recordings) >= _MOST_RECORDINGS:
                self._recordings.popitem(last=False)  # its memory goes before more is taken
            if (made := self._record(torch.cat([image, x_t], dim=1), timestep)) is None:
                return None
            self._recordings[shape] = made
        self._recordings.move_to_end(shape)
        return self._recordings[shape]

    def _record(self, x: torch.Tensor, timestep: float) -> _Recording | None:
        if self._capture is None:
            return None
        x = x.contiguous(memory_format=torch.channels_last)
        entry = self.network.entry(timestep).clone()
        try:
            replay, out = self._capture(lambda: self.network.evaluate(x, entry))
        except torch.OutOfMemoryError:
            raise  # the engine makes the batch smaller
        except RuntimeError as err:
            logger.warning("The network cannot be recorded on this device and runs without, slower: %s", err)
            self._capture = None
            return None
        return _Recording(x, entry, replay, out)


def capture_on_cuda(work: Work) -> tuple[Callable[[], None], torch.Tensor]:
    """Record a work as a CUDA graph, after a few runs that let libraries choose their kernels."""
    current = torch.cuda.current_stream()
    beside: torch.cuda.Stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    beside.wait_stream(current)
    with torch.cuda.stream(beside):
        for _ in range(_WARM_UPS):
            work()
    current.wait_stream(beside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = work()
    return graph.replay, out
