"""What running out of memory looks like."""

from __future__ import annotations

import torch

_SAID = ("can't allocate memory", "out of memory", "alloc_failed")
"""By a processor, by CUDA's driver and Apple's GPU, by cuBLAS and cuDNN, in a plain RuntimeError."""


def is_out_of_memory(err: BaseException) -> bool:
    """Whether an error, or the one in whose handling it came, means that memory ran out; on whatever device."""
    if isinstance(err, (torch.OutOfMemoryError, MemoryError)):
        return True
    if isinstance(err, RuntimeError) and says_out_of_memory(str(err)):
        return True
    return err.__context__ is not None and is_out_of_memory(err.__context__)


def says_out_of_memory(text: str) -> bool:
    """Whether the text of an error says so."""
    return any(words in text.lower() for words in _SAID)
