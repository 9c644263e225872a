"""Memory that the next step needs again is not given back between steps."""

from __future__ import annotations

import ctypes
import platform
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# Of <malloc.h>. The largest threshold that glibc takes, and what its own rule would let trimming rise to with it.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_LARGEST_IN_HEAP = 32 << 20
_TRIMMED_WITHOUT = 2 * _LARGEST_IN_HEAP
_NEVER_TRIMMED = (1 << 31) - 1


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Within, glibc keeps freed memory for the next allocation; at the end it gives back what is free.

    PyTorch takes every feature map on a processor from the C library, which returns large ones to the system when they
    are freed: the next one is then paid for page by page (13 000 page faults instead of 200 in an evaluation of the
    shipped network for 6 slices). The setting is the process's. With another C library nothing changes.
    """
    libc = _glibc()
    if libc is None:
        yield
        return
    libc.mallopt(_MMAP_THRESHOLD, _LARGEST_IN_HEAP)
    libc.mallopt(_TRIM_THRESHOLD, _NEVER_TRIMMED)
    try:
        yield
    finally:
        libc.mallopt(_TRIM_THRESHOLD, _TRIMMED_WITHOUT)
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    if sys.platform != "linux" or platform.libc_ver()[0] != "glibc":
        return None
    return ctypes.CDLL(None)
