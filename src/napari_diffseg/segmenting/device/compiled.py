"""Networks that were compiled ahead, on disk: where they lie, and how one is read and compared with its network."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import platform
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import torch
from platformdirs import user_cache_path

from napari_diffseg.networks.compiled_unet import CompiledUNet
from napari_diffseg.segmenting.device.choose_device import describe_device, precision_name

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari_diffseg.checkpoint import Checkpoint
    from napari_diffseg.networks.fast_unet import FastUNet

logger = logging.getLogger(__name__)

DEVICES: Final = {"cuda"}
"""Kinds of devices that use compiled networks: on a processor one was no faster (docs/performance.md)."""
MOST_PACKAGES: Final = 10
"""Compiled networks that are kept; of more, those that were not used for the longest time go."""
_LARGEST_DIFFERENCE: Final = 0.1
"""Of the largest prediction: bf16 rounds otherwise when operations are fused (0.007 and 0.024 in two networks)."""
_FAILURE_COUNTS_S: Final = 7 * 24 * 3600.0
"""How long a compiler that failed is not asked again, unless somebody says so."""


def package_path(checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype) -> Path:
    """Where this checkpoint's network lies once it is compiled for this device and arithmetic, by this PyTorch.

    A folder of the user's may be shared by several computers, so the processor is part of the name as well.
    """
    kind = describe_device(device).partition(" ")[2] or device.type
    of = [
        checkpoint.digest,
        repr(checkpoint.config),
        checkpoint.recipe.size,
        checkpoint.recipe.channel_order,
        kind,
        precision_name(dtype),
        torch.__version__,
        _processor(),
    ]
    key = hashlib.sha256(json.dumps(of).encode()).hexdigest()[:32]
    return user_cache_path("napari-diffseg") / "compiled" / f"{key}.pt2"


def _processor() -> list[str]:
    """What machine code of the host may be made of."""
    tell: Callable[[], dict[str, object]] = getattr(torch.cpu, "get_capabilities", dict)
    told = (f"{name} {value}" for name, value in sorted(tell().items()))
    return [platform.machine(), torch.backends.cpu.get_cpu_capability(), *told]


def uses_compiled(device: torch.device) -> bool:
    """Whether networks are compiled for this device."""
    return device.type in DEVICES


def find_package(checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype) -> Path | None:
    """The compiled network, where this device uses one and it was made."""
    if not uses_compiled(device):
        return None
    path = package_path(checkpoint, device, dtype)
    return path if path.is_file() else None


def load_compiled(plain: FastUNet, size: tuple[int, int], path: Path) -> CompiledUNet | None:
    """A compiled network that says what the plain one says; None, and a line in the log, where it cannot be used.

    Parameters
    ----------
    plain : FastUNet
        The network that was compiled, on its device.
    size : tuple of int
        Rows and columns of a slice.
    path : Path
        Of the package.
    """
    try:
        compiled = load_checked(plain, size, path)
    except Exception as err:  # noqa: BLE001 (a compiler's leftovers may fail in any way, and nothing depends on them)
        logger.warning("The compiled network %s cannot be used, so the run goes on without: %s", path.name, _line(err))
        return None
    with suppress(OSError):
        os.utime(path)  # it is in use, so others go before it
    return compiled


def load_checked(plain: FastUNet, size: tuple[int, int], path: Path) -> CompiledUNet:
    """As `load_compiled`, but raises where it cannot be used: whatever PyTorch does, or ValueError where it differs."""
    compiled = CompiledUNet.load(plain.network, path)
    difference = _difference(plain, compiled, size)
    if not difference <= _LARGEST_DIFFERENCE:
        raise ValueError(f"it differs from the network by {difference:.0%}")
    return compiled


@torch.no_grad()
def _difference(plain: FastUNet, compiled: CompiledUNet, size: tuple[int, int]) -> float:
    """The largest of one evaluation of two rows of noise, as a share of the largest number."""
    device = next(plain.network.parameters()).device
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, plain.network.config.in_channels, *size, generator=generator).to(device)
    expected, got = (
        network.evaluate(x, network.entry(500.0), network.anchor(x[:, :-1])) for network in (plain, compiled)
    )
    return float((got - expected).abs().max() / expected.abs().max().clamp(min=1e-6))


def remember_failure(path: Path, reason: str) -> None:
    """Note beside where a package would be why it could not be compiled."""
    with suppress(OSError):
        _note_of(path).write_text(reason, encoding="utf-8")


def recent_failure(path: Path) -> str | None:
    """Why a package could not be compiled, where that was noted within the last week."""
    note = _note_of(path)
    try:
        if abs(time.time() - note.stat().st_mtime) > _FAILURE_COUNTS_S:
            return None
        return note.read_text(encoding="utf-8", errors="replace") or None
    except OSError:
        return None


def forget_failure(path: Path) -> None:
    """It was compiled after all."""
    with suppress(OSError):
        _note_of(path).unlink()


def _note_of(path: Path) -> Path:
    return path.with_suffix(".failed")


def remove_oldest(folder: Path) -> None:
    """Remove the packages that were not used for the longest time, but for `MOST_PACKAGES`.

    One that another process has loaded goes on there: what it needs of the file was read.
    """
    with suppress(OSError):
        there = sorted(folder.glob("*.pt2"), key=lambda path: path.stat().st_mtime)
        for path in there[: max(0, len(there) - MOST_PACKAGES)]:
            path.unlink(missing_ok=True)


def _line(err: BaseException) -> str:
    return (str(err).strip().splitlines() or [type(err).__name__])[0]
