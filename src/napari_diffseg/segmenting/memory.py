"""How many rows are evaluated at once, and what running out of memory looks like."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psutil
import torch
from torch.utils.flop_counter import FlopCounterMode

from napari_diffseg.networks.unet import UNet

if TYPE_CHECKING:
    from napari_diffseg.networks.config import UNetConfig

_CPU_STEP_FLOP = 40e9
"""Work of one step on a processor, so that a step stays about a second and a cancel is answered within it."""
_GPU_STEP_FLOP = 60e12
_MAX_ROWS = 256
_BYTES_PER_ACTIVATION = 4
_LIVE_ACTIVATIONS = 16
"""Full-size activations alive at once: the skip connections of the first level and a block's own."""


def flop_per_row(config: UNetConfig, size: tuple[int, int]) -> float:
    """Floating-point operations of one network evaluation of one slice, counted on shapes alone."""
    with torch.device("meta"):
        network = UNet(config)
        x, t = torch.empty(1, config.in_channels, *size), torch.empty(1)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(x, t)
    return float(counter.get_total_flops())


def choose_batch_size(config: UNetConfig, size: tuple[int, int], device: torch.device) -> int:
    """Rows for one evaluation: enough to fill the device, few enough for its free memory and for a quick cancel."""
    on_gpu = device.type != "cpu"
    by_work = (_GPU_STEP_FLOP if on_gpu else _CPU_STEP_FLOP) / flop_per_row(config, size)
    row_bytes = config.model_channels * max(config.channel_mult[:1]) * size[0] * size[1]
    by_memory = 0.5 * free_bytes(device) / (row_bytes * _BYTES_PER_ACTIVATION * _LIVE_ACTIVATIONS)
    return int(max(1, min(by_work, by_memory, _MAX_ROWS)))


def free_bytes(device: torch.device) -> int:
    """Memory that is free on the device, or on the host for a device that shares it."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)


def is_out_of_memory(err: BaseException) -> bool:
    """Whether an error means that memory ran out; on a processor torch says so in a plain RuntimeError."""
    if isinstance(err, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(err, RuntimeError) and "can't allocate memory" in str(err)
