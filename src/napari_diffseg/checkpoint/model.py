"""A checkpoint in memory: weights, and everything that must be known to use them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from napari_diffseg.networks.unet import UNet

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from napari_diffseg.networks.config import UNetConfig
    from napari_diffseg.recipe import Recipe


_STEM = "input_blocks.0.0.weight"


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A trained network and its recipe, verified: the weights fit the network, and all of them are finite.

    Attributes
    ----------
    path : Path
        The file it was read from.
    recipe : Recipe
        How its input is made and its output read.
    config : UNetConfig
        The network's shape.
    state : mapping of str to Tensor
        The weights on the CPU, in the file's own dtypes (float32, float16 or bfloat16). Not to be written to.
    digest : str
        SHA-256 of the file, hexadecimal.
    kind : str
        "diffseg safetensors" where the recipe came with the weights, otherwise "state dict".
    family : str
        Whose code the weights are of, such as "MONAI DiffusionModelUNet".
    guesses : tuple of str
        One readable line for everything that the file does not say and nobody else said either; a setting's line
        begins with "name = ".
    card : mapping of str to str
        Free lines about it, for people.
    overrides : mapping of str to any
        What was said instead of the file, or where it says nothing; plain values by the names of `load_checkpoint`.
    """

    path: Path
    recipe: Recipe
    config: UNetConfig
    state: Mapping[str, torch.Tensor]
    digest: str
    kind: str
    family: str = "napari-diffseg"
    guesses: tuple[str, ...] = ()
    card: Mapping[str, str] = field(default_factory=dict)
    overrides: Mapping[str, Any] = field(default_factory=dict)

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return sum(tensor.numel() for tensor in self.state.values())

    def network(self) -> UNet:
        """A new network with these weights: float32, on the CPU, in evaluation mode, asking for no gradients.

        It takes the images first, whatever the recipe's channel order: the first convolution is changed to. The weights
        are copies: whatever is done to the network, the checkpoint stays as it is.
        """
        with torch.device("meta"):
            network = UNet(self.config)
        own = {name: tensor.to(torch.float32, copy=True) for name, tensor in self.state.items()}
        if self.recipe.channel_order == "mask_first":
            masks = len(self.recipe.labels)
            own[_STEM] = torch.cat([own[_STEM][:, masks:], own[_STEM][:, :masks]], dim=1)
        network.load_state_dict(own, strict=True, assign=True)
        return network.eval().requires_grad_(False)
