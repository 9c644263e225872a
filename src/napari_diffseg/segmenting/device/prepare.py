"""A network made ready for sampling, in the way that suits its device and its size."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_diffseg.networks.compiled_unet import CompiledUNet
from napari_diffseg.networks.fast_unet import FastUNet
from napari_diffseg.networks.graphed_unet import GraphedUNet, Unrecorded
from napari_diffseg.networks.unet import to_inference
from napari_diffseg.segmenting.device.compiled import load_compiled
from napari_diffseg.segmenting.device.memory import shares_out_rows
from napari_diffseg.segmenting.device.row_parallel import RowParallel

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from napari_diffseg.networks.unet import UNet

Prepared = FastUNet | CompiledUNet | GraphedUNet | Unrecorded | RowParallel


def prepare(
    network: UNet, size: tuple[int, int], *, device: torch.device, dtype: torch.dtype, package: Path | None = None
) -> Prepared:
    """Bring a network to its device, and choose how its rows are evaluated there.

    On a processor the threads share out the rows where a step has several, and each operation where a single row is
    work enough. The choice does not depend on the batch, so a row's numbers do not either.

    Parameters
    ----------
    network : UNet
        Is changed as `to_inference` does, and must not change afterwards.
    size : tuple of int
        Rows and columns of a slice.
    device : torch.device
        Where it will be evaluated.
    dtype : torch.dtype
        float32 or bfloat16.
    package : Path, optional
        The same network, compiled; where it cannot be used, it is done without, and the log says so.
    """
    fast = FastUNet(to_inference(network, dtype).to(device))
    compiled = None if package is None else load_compiled(fast, size, package)
    if device.type == "cuda":
        return GraphedUNet(compiled or fast)
    if compiled is not None:
        return compiled
    if device.type == "cpu" and shares_out_rows(network.config, size):
        return RowParallel(fast)
    return fast


def is_compiled(network: Prepared) -> bool:
    """Whether it is machine code that was made ahead."""
    return isinstance(network.network if isinstance(network, GraphedUNet) else network, CompiledUNet)


def for_few_rows(network: Prepared) -> FastUNet | CompiledUNet | Unrecorded | RowParallel:
    """The way to evaluate a few rows once: on a GPU without a recording, which takes many times as long to make."""
    return network.unrecorded if isinstance(network, GraphedUNet) else network
