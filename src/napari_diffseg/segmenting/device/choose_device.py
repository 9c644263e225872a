"""Where and in which arithmetic a run computes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from napari_diffseg.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_diffseg.events import PrecisionName


_FIRST_WITH_BF16 = 8
"""Compute capability of the first NVIDIA GPUs that compute in bfloat16 (Ampere)."""


def resolve_device(name: str) -> torch.device:
    """The device that a request names; `auto` is the first GPU there is, else the processor.

    Raises
    ------
    BadRequest
        If this machine, or this build of PyTorch, has no such device.
    """
    if name == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "mps" if _has_mps() else "cpu")
    device = torch.device(name)
    if device.type == "cuda":
        _check_cuda(device)
        return torch.device("cuda", device.index or 0)
    if device.type == "mps" and not _has_mps():
        raise BadRequest("Device mps: this machine offers no Apple GPU to PyTorch: choose cpu or auto.")
    return device


def _check_cuda(device: torch.device) -> None:
    if not torch.cuda.is_available():
        build = "was built without CUDA" if torch.version.cuda is None else "finds no usable NVIDIA GPU or driver"
        raise BadRequest(f"Device {device}: this PyTorch ({torch.__version__}) {build}: choose cpu or auto.")
    count = torch.cuda.device_count()
    if (device.index or 0) >= count:
        raise BadRequest(f"Device {device}: this machine has {count} GPU(s), cuda:0 to cuda:{count - 1}.")


def _has_mps() -> bool:
    return torch.backends.mps.is_available()


def resolve_precision(name: PrecisionName, device: torch.device) -> torch.dtype:
    """The arithmetic of the network; `auto` is bfloat16 where the device computes in it, else float32.

    Where it is emulated it is slower than float32, and no more exact.
    """
    if name == "auto":
        return torch.bfloat16 if _computes_in_bf16(device) else torch.float32
    return torch.bfloat16 if name == "bf16" else torch.float32


def _computes_in_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.get_device_properties(device).major >= _FIRST_WITH_BF16)
    if device.type == "cpu":
        # Other processors, Arm's say, were not measured; a PyTorch that does not tell is taken to have none.
        tell: Callable[[], dict[str, bool]] = getattr(torch.cpu, "get_capabilities", dict)
        return any(tell().get(name, False) for name in ("avx512_bf16", "amx_bf16"))
    return False


def precision_name(dtype: torch.dtype) -> str:
    """`fp32` or `bf16`."""
    return "bf16" if dtype == torch.bfloat16 else "fp32"


def describe_device(device: torch.device) -> str:
    """The device as a person knows it, such as `cuda:0 (NVIDIA H100)`."""
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return str(device)


def nvidia_gpus() -> list[tuple[str, int, int]]:
    """Of each NVIDIA GPU that PyTorch can use here: its name, and bytes of its memory that are free, and in all."""
    if not torch.cuda.is_available():
        return []
    return [(torch.cuda.get_device_name(n), *torch.cuda.mem_get_info(n)) for n in range(torch.cuda.device_count())]
