"""The case that is shipped with the package: a phantom of a glioma, in four modalities."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from napari_diffseg.errors import BadCase

if TYPE_CHECKING:
    from napari_diffseg.plugin.reader import LayerData


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


def open_sample() -> list[LayerData]:
    """The shipped case as layers, as napari's sample menu asks for them."""
    from napari_diffseg.plugin.reader import read_layers

    return read_layers(str(demo_case_folder()))
