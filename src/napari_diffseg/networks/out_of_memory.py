"""What running out of memory looks like."""

from __future__ import annotations

import torch

_SAID = ("can't allocate memory", "out of memory", "alloc_failed")
"""By a processor, by CUDA's driver and Apple's GPU, by cuBLAS and cuDNN, in a plain RuntimeError."""


def is_out_of_memory(err: BaseException) -> bool:
    """Whether an error means that memory ran out, on whatever device; libraries say so in several ways."""
    if isinstance(err, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(err, RuntimeError) and any(words in str(err).lower() for words in _SAID)
