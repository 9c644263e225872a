"""Rows of a batch shared out among a processor's threads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from napari_diffseg.segmenting.device.memory import ROWS_AT_A_TIME
from napari_diffseg.segmenting.device.threads import one_thread_each

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_diffseg.networks.fast_unet import FastUNet


class RowParallel:
    """A `FastUNet` each of whose rows is evaluated by one thread, several rows at the same time.

    A small network is hundreds of short operations. Shared out among threads, each of them ends with a wait for the
    slowest; here threads wait for each other once an evaluation. In
    bfloat16 a row is the same to the bit with any number of them and in any batch; in float32 too, but for attention,
    where PyTorch takes another way for a small row alone.

    Parameters
    ----------
    network : FastUNet
        On a processor.
    """

    def __init__(self, network: FastUNet) -> None:
        self.network = network
        self.threads: int | None = None
        """How many; None is as many as PyTorch would compute with."""

    def conditioned_on(self, image: torch.Tensor) -> Callable[[torch.Tensor, float], torch.Tensor]:
        """The network for one batch of images; as `FastUNet.conditioned_on`."""
        threads = self.threads or torch.get_num_threads()
        rounds = -(-len(image) // (threads * ROWS_AT_A_TIME))
        parts = min(len(image), threads * rounds)
        predicts = [self.network.conditioned_on(rows) for rows in image.tensor_split(parts)]
        pool = one_thread_each(min(parts, threads))  # its threads end with the last reference to it

        def predict(x_t: torch.Tensor, timestep: float) -> torch.Tensor:
            self.network.entry(timestep)  # worked out before several ask for it
            out = pool.map(lambda evaluate, rows: evaluate(rows, timestep), predicts, x_t.tensor_split(parts))
            return torch.cat(list(out))

        return predict
