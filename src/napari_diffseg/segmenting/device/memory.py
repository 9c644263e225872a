"""How many rows are evaluated at once."""

from __future__ import annotations

import gc
import math
from typing import TYPE_CHECKING

import torch

from napari_diffseg.imaging.memory_budget import free_memory
from napari_diffseg.networks.graphed_unet import free_workspaces

if TYPE_CHECKING:
    from napari_diffseg.networks.config import UNetConfig

_CPU_STEP_FLOP = 60e9
"""Work of one step on a processor: a cancel is answered within it."""
_WATCHED_STEP_FLOP = 15e9
"""The same where somebody watches: an eighth slower, and four times as many previews."""
_SHARED_ROW_FLOP = 15e9
"""The largest work of a row of which threads take one each."""
_GPU_STEP_FLOP = {"cuda": 60e12, "mps": 2e12}
"""The same of a GPU, by kind of device."""
_MAX_ROWS = 256
ROWS_AT_A_TIME = 8
"""The most rows of a small network that a processor's thread evaluates at once: a call's own cost is a third of a
row's, so few rows waste it, and many take memory."""
LEAST_ROWS_A_THREAD = 3
"""Rows of a small network that each thread gets where there are enough."""
_BYTES_PER_ACTIVATION = 4
_LIVE_ACTIVATIONS = 16
"""Full-size activations alive at once: the skip connections of the first level and a block's own."""


def flop_per_row(config: UNetConfig, size: tuple[int, int]) -> float:
    """About how many floating-point operations one evaluation of one slice takes: those of the 3 x 3 convolutions.

    A level has two convolutions a block on the way down, and two of a block more on the way up, the first of each
    with the skip connection's channels as well. Attention and normalisation are left out. Measured with PyTorch's
    own counter, which loads its compiler for seconds, this is within a fifth for the paper's network.
    """
    total = 0.0
    for level, c in enumerate(config.level_channels):
        pixels = size[0] * size[1] / 4**level
        down, up = config.num_res_blocks * 18 * c * c, (config.num_res_blocks + 1) * 29 * c * c
        total += 2 * pixels * (down + up)
    return total


def shares_out_rows(config: UNetConfig, size: tuple[int, int]) -> bool:
    """Whether a processor's threads share out the rows of a batch: a step has several; else they share each operation.

    It does not depend on the batch at hand, so that a row's sums do not either.
    """
    return flop_per_row(config, size) <= _SHARED_ROW_FLOP


def choose_batch_size(
    config: UNetConfig,
    size: tuple[int, int],
    device: torch.device,
    *,
    threads: int = 1,
    watched: bool = False,
    narrowing: bool = False,
) -> int:
    """Rows for one evaluation: enough to fill the device, few enough for its free memory and for a quick cancel.

    Parameters
    ----------
    config, size, device :
        The network, its rows and columns, and where it is evaluated.
    threads : int
        Threads of a processor, among which rows are shared out: where there are several rows, each thread gets as many,
        and no fewer than `LEAST_ROWS_A_THREAD`.
    watched : bool
        Whether every step is shown to somebody; a processor then takes smaller steps.
    narrowing : bool
        Whether rows leave their batch as they are decided; where threads share out rows, twice as many then begin, so
        that enough are left for each.
    """
    on_gpu = device.type != "cpu"
    on_cpu = _WATCHED_STEP_FLOP if watched else _CPU_STEP_FLOP
    by_work = _GPU_STEP_FLOP.get(device.type, on_cpu) / flop_per_row(config, size)
    if not on_gpu and shares_out_rows(config, size):
        by_work = threads * max(LEAST_ROWS_A_THREAD, math.ceil(round(by_work) / threads)) * (2 if narrowing else 1)
    row_bytes = config.level_channels[0] * size[0] * size[1]
    by_memory = 0.5 * free_bytes(device) / (row_bytes * _BYTES_PER_ACTIVATION * _LIVE_ACTIVATIONS)
    return int(max(1, min(by_work, by_memory, _MAX_ROWS)))


class BatchLimits:
    """Rows that fitted after memory ran out, for each device and arithmetic of one network."""

    def __init__(self) -> None:
        self._most: dict[tuple[torch.device, torch.dtype], int] = {}

    def within(self, rows: int, device: torch.device, dtype: torch.dtype) -> int:
        """So many rows, or those that fitted where that is fewer."""
        return min(rows, self._most.get((device, dtype), rows))

    def lower(self, rows: int, device: torch.device, dtype: torch.dtype) -> None:
        """Memory ran out, and so many rows are tried now; a network that never ran out has no limit."""
        self._most[device, dtype] = rows


def free_bytes(device: torch.device) -> int:
    """Memory that is free on the device, or on the host for a device that shares it."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return free_memory()


def give_back_memory() -> None:
    """Give memory that nobody uses back to the system: PyTorch keeps all that was ever taken, for later."""
    gc.collect()  # a recording and its memory go with the last reference, which a cycle may hold
    if torch.cuda.is_available():
        free_workspaces()
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()
