"""What a family of checkpoints is: how its files are told, and what one of them becomes here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from napari_diffseg.networks.config import UNetConfig

Shapes = Mapping[str, tuple[int, ...]]
"""Name to shape of every tensor of a network."""

Translate = Callable[[Mapping[str, "torch.Tensor"]], dict[str, "torch.Tensor"]]
"""A network's tensors under its family's names to those of `UNet`, on their device and in their dtype."""


@dataclass(frozen=True, slots=True)
class Sidecar:
    """What lies beside the weights and speaks of them.

    Attributes
    ----------
    network : mapping or None
        `config.json` of a diffusers model.
    scheduler : mapping or None
        `scheduler_config.json` of a diffusers pipeline.
    """

    network: Mapping[str, Any] | None = None
    scheduler: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Imported:
    """A network of some family as one of ours.

    Attributes
    ----------
    config : UNetConfig
        Of the network.
    translate : callable
        From the family's tensors to those of `UNet(config)`.
    promises : mapping of str to any
        Values of the recipe, by field.
    reasons : mapping of str to str
        For those of them that nothing in the file says, why they were chosen.
    guesses : tuple of str
        One line, "name = value (why)", for each setting of the network that was guessed.
    notes : tuple of str
        What people should know beside.
    """

    config: UNetConfig
    translate: Translate
    promises: Mapping[str, Any]
    reasons: Mapping[str, str]
    guesses: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


Read = Callable[[Shapes, Sidecar], Imported]
"""Makes a family's network one of ours; raises BadCheckpoint where that cannot be."""


@dataclass(frozen=True, slots=True)
class Family:
    """A kind of checkpoint.

    Attributes
    ----------
    name : str
        As people call it.
    signature : tuple of str
        Names of tensors, all of which such a file has. One that ends in "." is the beginning of a name.
    read : callable or None
        None for one that cannot be used here.
    refusal : str
        Why it cannot be used, and what can be done instead, as the end of a sentence.
    rank : int or None
        Dimensions of the first tensor of the signature, where that tells families apart.
    """

    name: str
    signature: tuple[str, ...]
    read: Read | None = field(default=None, repr=False)
    refusal: str = ""
    rank: int | None = None
