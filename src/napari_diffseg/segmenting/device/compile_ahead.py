"""Compiles a network in another process: what is asked of it, how it is ended, and that nothing of it stays behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING, Final

from napari_diffseg.checkpoint.save import save_checkpoint
from napari_diffseg.errors import BadRequest, RunFailed
from napari_diffseg.imaging.folder_lock import forget, try_lock
from napari_diffseg.networks.out_of_memory import says_out_of_memory
from napari_diffseg.segmenting.device.choose_device import precision_name
from napari_diffseg.segmenting.device.compiled import forget_failure, package_path, remember_failure, remove_oldest

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    import torch

    from napari_diffseg.checkpoint import Checkpoint

MADE: Final = "network.pt2"
"""What the worker writes into its folder."""
WORKER: Final = "napari_diffseg.segmenting.device.compile_worker"
_POLL_S: Final = 0.2
_ENDED_BY_OTHERS: Final = (-9, -15)
"""How a process ends that somebody has killed, or that the system has because memory ran out."""


class CompiledElsewhere(BadRequest):
    """Another process compiles the same network now."""


def compile_ahead(checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype) -> Generator[float]:
    """Compile a checkpoint's network in another process, of low priority; nothing is there until all of it is.

    Closing the iterator ends the process; so does the end of this one, however it comes. That the compiler failed is
    noted on disk, see `compiled.recent_failure`, unless another attempt may well succeed: where it was killed, or
    memory ran out.

    Yields
    ------
    float
        Seconds since it began, some times a second.

    Raises
    ------
    CompiledElsewhere
        If another process compiles the same.
    RunFailed
        If the compiler fails, or nothing can be written; the text is the last line of what it says.
    """
    path = package_path(checkpoint, device, dtype)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _alone_at(path), _folder_beside(path) as work:
            if path.is_file():  # another process has made it since
                return
            yield from _wait_for(checkpoint, device, dtype, work, note_beside=path)
            os.replace(work / MADE, path)
            forget_failure(path)
            remove_oldest(path.parent)
    except OSError as err:
        raise RunFailed(f"The network was not compiled: {err}") from err


@contextmanager
def _alone_at(path: Path) -> Iterator[None]:
    lock = try_lock(path.with_suffix(".lock"))
    if lock is None:
        raise CompiledElsewhere("Another process compiles this network now: wait for it.")
    try:
        yield
    finally:
        forget(lock)


@contextmanager
def _folder_beside(path: Path) -> Iterator[Path]:
    """A folder for everything that comes before the package; those of processes that were killed go, too.

    Its name is its own, so that two processes on a disk without locks do the work twice and do not disturb each other.
    """
    for left in path.parent.glob("*.work"):
        _remove_left(left, present=path)
    work = Path(tempfile.mkdtemp(prefix=f"{path.stem}.", suffix=".work", dir=path.parent))
    try:
        yield work
    finally:
        rmtree(work, ignore_errors=True)


def _remove_left(left: Path, *, present: Path) -> None:
    """Remove the folder of an earlier process, unless one holds the lock that belongs to it."""
    stem = left.name.partition(".")[0]
    if stem == present.stem:  # whose lock is held by this process
        rmtree(left, ignore_errors=True)
        return
    lock = try_lock(left.with_name(f"{stem}.lock"))
    if lock is not None:
        rmtree(left, ignore_errors=True)
        forget(lock)


def _wait_for(
    checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype, work: Path, *, note_beside: Path
) -> Iterator[float]:
    task = _hand_over(checkpoint, work) | {"device": str(device), "precision": precision_name(dtype)}
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
    if worker.returncode or not (work / MADE).is_file():
        if worker.returncode not in _ENDED_BY_OTHERS and not says_out_of_memory(last):
            remember_failure(note_beside, last)
        raise RunFailed(f"The network was not compiled: {last}")


def _hand_over(checkpoint: Checkpoint, work: Path) -> dict[str, str]:
    """The worker's task: the weights as they are in memory, as their file may have changed or gone since."""
    saved = work / "checkpoint.safetensors"
    save_checkpoint(saved, checkpoint.state, recipe=checkpoint.recipe, config=checkpoint.config, dtype="own")
    return {"checkpoint": str(saved), "folder": str(work)}


def end_group(leader: int) -> None:
    """End a process that leads a group, and all that it started."""
    if hasattr(os, "killpg"):
        import signal

        with suppress(ProcessLookupError, PermissionError):
            os.killpg(leader, signal.SIGKILL)
