"""The case that is shipped: a phantom of a glioma."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from napari_diffseg.errors import BadCase


def demo_case_folder() -> Path:
    """The folder of the shipped case.

    Raises
    ------
    BadCase
        If the installation lacks it.
    """
    folder = Path(str(files("napari_diffseg").joinpath("data", "demo_case")))
    if not folder.is_dir():
        raise BadCase(f"{folder}: the sample case is missing from this installation: reinstall napari-diffseg.")
    return folder
