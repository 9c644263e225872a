"""Networks that were compiled ahead, on disk: where they lie, how one is made in another process, and read."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import subprocess
import sys
import time
from contextlib import suppress
from shutil import rmtree
from typing import TYPE_CHECKING, Final

import torch
from platformdirs import user_cache_path

from napari_diffseg.errors import BadRequest, RunFailed
from napari_diffseg.imaging.folder_lock import forget, try_lock
from napari_diffseg.networks.compiled_unet import CompiledUNet
from napari_diffseg.segmenting.device.choose_device import describe_device, precision_name

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

    from napari_diffseg.checkpoint import Checkpoint
    from napari_diffseg.networks.fast_unet import FastUNet

logger = logging.getLogger(__name__)

DEVICES: Final = {"cuda"}
"""Kinds of devices that use compiled networks: on a processor one was no faster (docs/performance.md)."""
_LARGEST_DIFFERENCE: Final = 0.1
"""Of the largest prediction: bf16 rounds otherwise when operations are fused (0.007 and 0.024 in two networks)."""
_POLL_S: Final = 0.2
MADE: Final = "network.pt2"
"""What the worker writes into its folder."""
WORKER: Final = "napari_diffseg.segmenting.device.compile_worker"


def package_path(checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype) -> Path:
    """Where this checkpoint's network lies once it is compiled for this device and arithmetic, by this PyTorch."""
    kind = describe_device(device).partition(" ")[2] or device.type
    of = [
        checkpoint.digest,
        repr(checkpoint.config),
        checkpoint.recipe.size,
        kind,
        precision_name(dtype),
        torch.__version__,
    ]
    key = hashlib.sha256(json.dumps(of).encode()).hexdigest()[:32]
    return user_cache_path("napari-diffseg") / "compiled" / f"{key}.pt2"


def find_package(checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype) -> Path | None:
    """The compiled network, where this device uses one and it was made."""
    if device.type not in DEVICES:
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
        compiled = CompiledUNet.load(plain.network, path)
        difference = _difference(plain, compiled, size)
    except Exception as err:  # noqa: BLE001 (a compiler's leftovers may fail in any way, and nothing depends on them)
        logger.warning("The compiled network %s cannot be used, so the run goes on without: %s", path.name, _line(err))
        return None
    if not difference <= _LARGEST_DIFFERENCE:
        logger.warning("The compiled network %s differs by %.0f%%: it is not used.", path.name, 100 * difference)
        return None
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


def compile_ahead(checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype) -> Generator[float]:
    """Compile a checkpoint's network in another process, of low priority; nothing is there until all of it is.

    Closing the iterator ends the process; so does the end of this one, however it comes.

    Yields
    ------
    float
        Seconds since it began, some times a second.

    Raises
    ------
    BadRequest
        If another process compiles the same.
    RunFailed
        If the compiler fails; the text is its last line.
    """
    path = package_path(checkpoint, device, dtype)
    work = path.with_suffix(".work")
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = try_lock(path.with_suffix(".lock"))
    if lock is None:
        raise BadRequest("Another process compiles this network now: wait for it.")
    try:
        rmtree(work, ignore_errors=True)  # of one that was killed
        work.mkdir()
        yield from _wait_for(checkpoint, device, dtype, work)
        os.replace(work / MADE, path)
    finally:
        rmtree(work, ignore_errors=True)
        forget(lock)


def _wait_for(checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype, work: Path) -> Iterator[float]:
    task = {"checkpoint": str(checkpoint.path), "overrides": dict(checkpoint.overrides), "folder": str(work)}
    task |= {"device": str(device), "precision": precision_name(dtype)}
    began = time.monotonic()
    with (work / "said.txt").open("w+", encoding="utf-8", errors="replace") as said:
        worker = subprocess.Popen(
            [sys.executable, "-m", WORKER, json.dumps(task)],
            stdin=subprocess.PIPE,  # the system closes it when this process ends, by which the worker knows
            stdout=subprocess.DEVNULL,
            stderr=said,
            start_new_session=True,  # so that what the compiler starts can be ended with it
        )
        with worker:
            try:
                while worker.poll() is None:
                    yield time.monotonic() - began
                    with suppress(subprocess.TimeoutExpired):
                        worker.wait(_POLL_S)
            finally:
                if worker.poll() is None:
                    end_group(worker.pid)
                    worker.kill()
        said.seek(0)
        last = (said.read().strip().splitlines() or [f"exit {worker.returncode}"])[-1]
    if worker.returncode:
        raise RunFailed(f"The network was not compiled: {last}")


def end_group(leader: int) -> None:
    """End a process that leads a group, and all that it started."""
    if hasattr(os, "killpg"):
        import signal

        with suppress(ProcessLookupError, PermissionError):
            os.killpg(leader, signal.SIGKILL)


def _line(err: BaseException) -> str:
    return (str(err).strip().splitlines() or [type(err).__name__])[0]
