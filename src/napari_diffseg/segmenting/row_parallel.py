"""Rows of a batch shared out among a processor's threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from napari_diffseg.segmenting.threads import threads_used

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from napari_diffseg.networks.fast_unet import FastUNet

_MOST_ROWS = 3
"""Rows that a thread takes at a time: their features stay near its cache."""


class RowParallel:
    """A `FastUNet` each of whose rows is evaluated by one thread, several rows at the same time.

    A small network is hundreds of short operations. Shared out among threads, each of them ends with a wait for the
    slowest; here threads wait for each other once an evaluation. There are as many as PyTorch would compute with. In
    bfloat16 a row is the same to the bit with any number of them and in any batch; in float32 too, but for attention,
    where PyTorch takes another way for a small row alone.

    Parameters
    ----------
    network : FastUNet
        On a processor.
    """

    def __init__(self, network: FastUNet) -> None:
        self.network = network

    def conditioned_on(self, image: torch.Tensor) -> Callable[[torch.Tensor, float], torch.Tensor]:
        """The network for one batch of images; as `FastUNet.conditioned_on`."""
        threads = torch.get_num_threads()
        rounds = -(-len(image) // (threads * _MOST_ROWS))
        parts = min(len(image), threads * rounds)
        predicts = [self.network.conditioned_on(rows) for rows in image.tensor_split(parts)]

        def predict(x_t: torch.Tensor, timestep: float) -> torch.Tensor:
            self.network.entry(timestep)  # worked out before several ask for it
            with _threads_of_their_own(min(parts, threads)) as pool:
                out = pool.map(lambda evaluate, rows: evaluate(rows, timestep), predicts, x_t.tensor_split(parts))
                return torch.cat(list(out))

        return predict


@contextmanager
def _threads_of_their_own(count: int) -> Iterator[ThreadPoolExecutor]:
    """So many new threads, as nice as this one, each of which does alone what PyTorch would share out."""
    with (
        threads_used(1),  # also what a thread begins with
        ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(1,)) as pool,
    ):
        yield pool
