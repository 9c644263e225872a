"""What a file of weights holds, before any of it is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
"""The kinds of numbers that weights may be stored in."""

MAX_TENSORS = 50_000
"""Tensors in one file; a large network has about a thousand."""


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """The tensors of a file by name, and how to read them.

    Attributes
    ----------
    shapes : mapping of str to tuple of int
        Of every tensor.
    dtypes : mapping of str to str
        Of every tensor, e.g. "float16".
    read : callable
        Reads and verifies those that are named; each owns its memory, is contiguous, and is on the CPU.
    metadata : str or None
        Our own metadata, as the file has it.
    notes : tuple of str
        What was chosen on the way to them, for people.
    """

    shapes: Mapping[str, tuple[int, ...]]
    dtypes: Mapping[str, str]
    read: Callable[[Collection[str]], dict[str, torch.Tensor]]
    metadata: str | None = None
    notes: tuple[str, ...] = ()


def shown(text: str, most: int = 100) -> str:
    """Text out of a file for a message: at most so many characters, and no control characters."""
    return "".join(c if c.isprintable() else "?" for c in text[:most])


def shown_some(names: Iterable[str]) -> str:
    """Up to three names for a message, and how many more there are."""
    every = list(names)
    rest = f" and {len(every) - 3} more" if len(every) > 3 else ""
    return ", ".join(shown(name) for name in every[:3]) + rest
