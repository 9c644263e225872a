"""What a benchmark has computed already, on disk: a run that was stopped goes on where it was."""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
import sys
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import psutil
import torch

from napari_diffseg.imaging.atomic import atomic_write, write_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_diffseg.checkpoint import Checkpoint

RESULTS = Path(__file__).resolve().parent / "results"
WORK = Path(__file__).resolve().parents[1] / "artifacts" / "benchmarks"


class Cells:
    """Binary masks and maps by everything that they depend on.

    Parameters
    ----------
    folder : Path
        Made if it is not there.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder

    def masks(self, key: str, shape: tuple[int, ...], compute: Callable[[], npt.NDArray[np.bool_]]) -> Any:
        """The binary masks of this key, computed once; `key` names all they depend on."""
        path = self._path(key)
        if path.exists():
            bits = np.load(path, allow_pickle=False)
            return np.unpackbits(bits, count=int(np.prod(shape))).reshape(shape).astype(np.bool_)
        masks = compute()
        self._write(path, np.packbits(masks))
        return masks

    def map(self, key: str, compute: Callable[[], npt.NDArray[np.float32]]) -> Any:
        """The probabilities of this key, computed once, kept in half precision."""
        path = self._path(key)
        if not path.exists():
            self._write(path, compute().astype(np.float16))
        return np.load(path, allow_pickle=False).astype(np.float32)

    def holds(self, key: str) -> bool:
        """Whether the key has been computed."""
        return self._path(key).exists()

    def _path(self, key: str) -> Path:
        return self._folder / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.npy"

    @staticmethod
    def _write(path: Path, array: npt.NDArray[np.generic]) -> None:
        atomic_write(path, lambda file: np.save(file, array, allow_pickle=False), overwrite=True)


class Budget:
    """The time that a benchmark may still take, and how fast it has been."""

    def __init__(self, seconds: float | None) -> None:
        self._end = None if seconds is None else time.monotonic() + seconds
        self._rows, self._seconds = 0, 0.0

    def count(self, rows: int, seconds: float) -> None:
        """So many network evaluations of one slice took so long."""
        self._rows += rows
        self._seconds += seconds

    def estimate(self, rows: int) -> float:
        """Seconds that so many evaluations will take; 0 before anything is known."""
        return rows * self._seconds / self._rows if self._rows else 0.0

    def allows(self, rows: int) -> bool:
        """Whether so many evaluations will end in time; what is computed already takes none."""
        return not rows or self._end is None or time.monotonic() + self.estimate(rows) <= self._end


def write_record(path: Path, figures: dict[str, Any], *, checkpoint: Checkpoint | None, device: torch.device) -> None:
    """Write a result with the command, the machine, the versions and the day it came from.

    Parameters
    ----------
    path : Path
        Replaced as a whole.
    figures : dict
        Plain values.
    checkpoint : Checkpoint or None
        Whose figures they are.
    device : torch.device
        Where the networks ran.
    """
    script = Path(sys.argv[0])
    known = {
        "command": shlex.join(["python", f"{script.parent.name}/{script.name}", *_public(sys.argv[1:])]),
        "date": datetime.now(UTC).date().isoformat(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else _processor(),
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in ("napari-diffseg", "torch", "numpy")},
        "checkpoint": None if checkpoint is None else {"file": checkpoint.path.name, "sha256": checkpoint.digest},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, known | figures, overwrite=True)


def others_load() -> float:
    """The share of the processor that other processes took in the last seconds; figures are worth less above 0.1."""
    mine = psutil.Process()
    mine.cpu_percent()
    total = psutil.cpu_percent(2.0) / 100 * (psutil.cpu_count() or 1)
    return round(max(0.0, total - mine.cpu_percent() / 100) / (psutil.cpu_count() or 1), 2)


def _public(arguments: list[str]) -> list[str]:
    """Arguments without the machine's own folders."""
    return [Path(a).name if os.sep in a else a for a in arguments]


def _processor() -> str:
    return f"{torch.get_num_threads()} threads of {os.cpu_count()} cores, {platform.machine()}"
