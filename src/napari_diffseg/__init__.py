"""Brain-lesion segmentation with its uncertainty, by a conditioned diffusion ensemble.

The names below are loaded when they are first used, so that importing the package costs nothing: neither torch nor
Qt comes with it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_diffseg.checkpoint import load_checkpoint
    from napari_diffseg.ensemble.ensemble import Ensemble
    from napari_diffseg.ensemble.expected import ExpectedMask
    from napari_diffseg.errors import DiffsegError
    from napari_diffseg.events import Expected, Finished, Refined, Sampled, SegmentRequest, Started, Stepped
    from napari_diffseg.imaging.case import read_case
    from napari_diffseg.imaging.demo_case import demo_case_folder
    from napari_diffseg.imaging.save import write_nifti
    from napari_diffseg.runs.keep import keep_run
    from napari_diffseg.runs.run_folder import RunFolder
    from napari_diffseg.segmenting.segmenter import LocalSegmenter

_HOME = {
    "DiffsegError": "errors",
    "Ensemble": "ensemble.ensemble",
    "Expected": "events",
    "ExpectedMask": "ensemble.expected",
    "Finished": "events",
    "LocalSegmenter": "segmenting.segmenter",
    "Refined": "events",
    "RunFolder": "runs.run_folder",
    "Sampled": "events",
    "SegmentRequest": "events",
    "Started": "events",
    "Stepped": "events",
    "demo_case_folder": "imaging.demo_case",
    "keep_run": "runs.keep",
    "load_checkpoint": "checkpoint",
    "read_case": "imaging.case",
    "write_nifti": "imaging.save",
}

__all__ = [
    "DiffsegError",
    "Ensemble",
    "Expected",
    "ExpectedMask",
    "Finished",
    "LocalSegmenter",
    "Refined",
    "RunFolder",
    "Sampled",
    "SegmentRequest",
    "Started",
    "Stepped",
    "demo_case_folder",
    "keep_run",
    "load_checkpoint",
    "read_case",
    "write_nifti",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "LocalSegmenter":
        import_module(f"{__name__}.extras").check_extra("local")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
