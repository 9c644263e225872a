"""What an engine answers about itself, its computer and a checkpoint."""

from __future__ import annotations

import os
import platform
import shutil
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from napari_diffseg.errors import EngineFailed
from napari_diffseg.imaging.memory_budget import free_memory
from napari_diffseg.remote.messages import Device, Failed, Inspected, Loaded, RemedyPart, Welcome

if TYPE_CHECKING:
    from napari_diffseg.checkpoint import Checkpoint
    from napari_diffseg.errors import DiffsegError
    from napari_diffseg.remote.messages import Hello, Inspect, Load

_PACKAGES: Final = ("napari-diffseg", "torch", "numpy", "nibabel", "scipy")
"""Whose versions a run's record tells."""
_LONGEST: Final = 20_000
"""Letters of an error that cross."""


def package_version(package: str = "napari-diffseg") -> str:
    """The version of a package that is installed, in words where it is not."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def other_version(welcome: Welcome) -> str:
    """What is to be known of an engine whose version is not the one here; an empty text where it is."""
    here = package_version()
    if welcome.version == here:
        return ""
    return (
        f"napari-diffseg is {welcome.version} there and {here} here: the same masks are promised for one version only."
    )


def check_torch() -> None:
    """Refuse early where there is nothing to compute with.

    Raises
    ------
    EngineFailed
        If PyTorch is not installed.
    """
    if find_spec("torch") is None:
        raise EngineFailed(
            f"PyTorch is missing on {platform.node() or 'the engine’s computer'}: install it there with "
            "pip install 'napari-diffseg[local]'."
        )


def welcome(message: Hello, *, engine: str | None = None, goes_on: bool = False) -> Welcome:
    """Who answers, and by which name it can be spoken with again."""
    return Welcome(
        id=message.id,
        engine=engine,
        goes_on=goes_on,
        version=package_version(),
        host=platform.node()[:255],
        python=platform.python_version(),
        packages={name: package_version(name) for name in _PACKAGES},
    )


def facts(message: Load, checkpoint: Checkpoint, rows: list[tuple[str, str]]) -> Loaded:
    """What a checkpoint was found to be."""
    values = {
        "id": message.id,
        "recipe": checkpoint.recipe,
        "config": checkpoint.config.to_dict(),
        "digest": checkpoint.digest,
        "weights": checkpoint.kind,
        "family": checkpoint.family,
        "parameters": checkpoint.parameters,
        "guesses": checkpoint.guesses,
        "card": dict(checkpoint.card),
        "overrides": dict(checkpoint.overrides),
        "rows": rows,
    }
    return Loaded.model_validate(values)


def inspected(message: Inspect, folder: Path) -> Inspected:
    """What there is to compute with, and how much room."""
    devices: list[Device] = []
    torch_version = None
    if find_spec("torch") is not None:
        from napari_diffseg.segmenting.device.choose_device import nvidia_gpus

        torch_version = package_version("torch")[:64]
        devices = [Device(name=name[:255], free=free, total=total) for name, free, total in nvidia_gpus()]
    there = next((p for p in (folder, *folder.parents) if p.is_dir()), Path("/"))
    return Inspected(
        id=message.id,
        torch=torch_version,
        devices=tuple(devices),
        cores=os.cpu_count() or 1,
        free_memory=free_memory(),
        free_disk=shutil.disk_usage(there).free,
        folder=str(folder),
    )


def failed(number: int, err: DiffsegError) -> Failed:
    """An error as the answer to a message."""
    return Failed(
        id=number,
        error=type(err).__name__,
        text=str(err)[:_LONGEST],
        remedies=tuple(RemedyPart(setting=r.setting, value=r.value) for r in err.remedies[:10]),
    )
