"""The U-Net as machine code that PyTorch's compiler (Inductor) has made ahead of time."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Final

import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari_diffseg.networks.unet import UNet

    Evaluate = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

MOST_ROWS: Final = 256
"""Rows that machine code is made for, from 1 on."""


def compile_unet(network: UNet, size: tuple[int, int], path: Path) -> None:
    """Compile a network, with its weights, for slices of one size into a file; takes a minute or several.

    The file is of this machine and this version of PyTorch. It holds the weights.

    Parameters
    ----------
    network : UNet
        As `to_inference` leaves it, on the device that will evaluate it.
    size : tuple of int
        Rows and columns of a slice.
    path : Path
        Ends in `.pt2`; is replaced.

    Raises
    ------
    Exception
        Whatever PyTorch's compiler raises: that it has no C++ compiler, say.
    """
    device = next(network.parameters()).device
    x = torch.zeros(2, network.config.in_channels, *size, device=device)
    example = x.contiguous(memory_format=torch.channels_last), torch.zeros(1, device=device)
    rows = {0: torch.export.Dim("rows", min=1, max=MOST_ROWS)}
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of the compiler are for people who write compilers
        program = torch.export.export(_ForOneTimestep(network).eval(), example, dynamic_shapes=(rows, None))
        torch._inductor.aoti_compile_and_package(program, package_path=str(path))  # noqa: SLF001 (documented so)


class CompiledUNet:
    """What `FastUNet` computes, up to rounding, by machine code.

    Parameters
    ----------
    network : UNet
        That was compiled.
    evaluate : callable
        Takes image and noisy mask (B, in_channels, H, W), float32, channels-last, and the timestep (1,), float32.
    """

    def __init__(self, network: UNet, evaluate: Evaluate) -> None:
        self.network = network
        self._device = next(network.parameters()).device
        self._evaluate = evaluate
        self._timesteps: dict[float, torch.Tensor] = {}

    @classmethod
    def load(cls, network: UNet, path: Path) -> CompiledUNet:
        """What `compile_unet` made of this network; raises whatever PyTorch does where that cannot be loaded."""
        device = next(network.parameters()).device
        # Without the locks between threads, which a CUDA graph cannot record; a run evaluates in one thread.
        package = torch._inductor.aoti_load_package(  # noqa: SLF001
            str(path), run_single_threaded=True, device_index=device.index if device.index is not None else -1
        )
        return cls(network, package)

    def conditioned_on(self, image: torch.Tensor) -> Callable[[torch.Tensor, float], torch.Tensor]:
        """The network for one batch of images; as `FastUNet.conditioned_on`."""
        self.network.check_size(image.shape[2], image.shape[3])

        @torch.no_grad()
        def predict(x_t: torch.Tensor, timestep: float) -> torch.Tensor:
            self.network.check_channels(image.shape[1] + x_t.shape[1])
            return self.evaluate(torch.cat([image, x_t], dim=1), self.entry(timestep))

        return predict

    def entry(self, timestep: float) -> torch.Tensor:
        """The timestep as `evaluate` takes it; the same object every time."""
        if timestep not in self._timesteps:
            self._timesteps[timestep] = torch.tensor([timestep], dtype=torch.float32, device=self._device)
        return self._timesteps[timestep]

    def anchor(self, image: torch.Tensor) -> torch.Tensor | None:
        """None: where a network has an anchor, the machine code evaluates it, too."""
        return None

    def evaluate(self, x: torch.Tensor, entry: torch.Tensor, anchor: torch.Tensor | None = None) -> torch.Tensor:
        """From image and noisy mask (B, in_channels, H, W) to (B, out_channels, H, W), float32."""
        return self._evaluate(x.contiguous(memory_format=torch.channels_last), entry)


class _ForOneTimestep(nn.Module):
    """A network all of whose rows are at one timestep."""

    def __init__(self, network: UNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.network(x, timestep.expand(x.shape[0]))
        return out
