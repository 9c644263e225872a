"""The same bytes every time: fixed batch shape, one thread, deterministic kernels."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def reproducibly(*, enabled: bool) -> Iterator[None]:
    """Within, sums are made in one fixed order; torch's global settings are put back after.

    A network's sums differ by about 5e-7 between batch sizes and thread counts, which moves a voxel of a mask almost
    never; this removes even that, at the price of speed. It rules one machine and one version of PyTorch.

    Parameters
    ----------
    enabled : bool
        Whether to change anything at all.
    """
    if not enabled:
        yield
        return
    threads = torch.get_num_threads()
    deterministic = torch.are_deterministic_algorithms_enabled()
    warns = torch.is_deterministic_algorithms_warn_only_enabled()
    cudnn = (torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32)
    try:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it when it is first used
        torch.set_num_threads(1)
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32 = False, False
        yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(deterministic, warn_only=warns)
        torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32 = cudnn
