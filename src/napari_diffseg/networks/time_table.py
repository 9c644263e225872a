"""What a network's residual blocks add for each timestep, computed once for all rows, slices and members."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_diffseg.networks.fast_block import FastResBlock
    from napari_diffseg.networks.unet import UNet

_MOST_ENTRIES = 4096


class TimeTable:
    """By timestep, what all residual blocks are told, in one vector each (29 KB for the paper's network).

    Parameters
    ----------
    network : UNet
        Whose weights no longer change; it stays on its device.
    blocks : sequence of FastResBlock
        Its residual blocks.
    """

    def __init__(self, network: UNet, blocks: Sequence[FastResBlock]) -> None:
        self._network = network
        self._device = next(network.parameters()).device
        self._blocks = tuple(blocks)
        self._sizes = [block.told_length for block in blocks]
        self._entries: dict[float, torch.Tensor] = {}

    @torch.no_grad()
    def __call__(self, timestep: float) -> torch.Tensor:
        """The entry of a timestep, float32, on the network's device; the same object every time."""
        if timestep not in self._entries:
            if len(self._entries) >= _MOST_ENTRIES:
                self._entries.clear()
            sinusoids = self._network.embed_time(torch.tensor([timestep], device=self._device))
            emb = self._network.time_embed(sinusoids)
            self._entries[timestep] = torch.cat([block.tell(emb) for block in self._blocks])
        return self._entries[timestep]

    def parts(self, entry: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Views of an entry, one for each block."""
        return torch.split_with_sizes(entry, self._sizes)
