"""Runs of a tiny checkpoint kept in a folder, and what is read of their files."""

from __future__ import annotations

import nibabel as nib
import numpy as np

from napari_diffseg.events import SegmentRequest
from napari_diffseg.runs.keep import keep_run
from napari_diffseg.runs.run_folder import RunFolder
from napari_diffseg.segmenting.segmenter import LocalSegmenter


def make_folder(path, case, checkpoint, **settings):
    """A folder for a run of three members on the processor, but for the settings given."""
    return RunFolder(path, case, checkpoint, SegmentRequest(**({"device": "cpu", "members": 3} | settings)))


def keep(folder, checkpoint, *, stop_after=None, **how):
    """Let the run go to its end, or close it after an event, counted from 0."""
    events = keep_run(LocalSegmenter(checkpoint, preview_interval_s=None), folder, **how)
    for n, _ in enumerate(events):
        if n == stop_after:
            events.close()
            return


def load(path):
    """The array in a file."""
    return np.asanyarray(nib.load(path).dataobj)
