"""The words on the command line that make a run of the panel again."""

from __future__ import annotations

import shlex
import subprocess
import sys
from typing import TYPE_CHECKING, Final

from napari_diffseg.errors import BadCase, BadRequest
from napari_diffseg.runs.command_words import override_words, request_words

if TYPE_CHECKING:
    from pathlib import Path

    from napari_diffseg.imaging.case import Case
    from napari_diffseg.plugin.session.run_entry import RunEntry
    from napari_diffseg.plugin.session.run_plan import RunPlan

OUT: Final = "results"
"""Folder of the command's results, where it is run; they are the panel's, so its own folder must not be overwritten."""


def predict_words(record: RunEntry) -> list[str]:
    """The command `napari-diffseg predict ...` that makes the masks of a run again.

    What the run took from its checkpoint, the sampler and the timesteps, is written out.

    Raises
    ------
    BadRequest
        If the images are not files that the command would find: layers of other plugins, files of several folders, or
        files whose names state another modality than they were chosen for.
    """
    plan, started = record.plan, record.started
    said = {"sampler": started.sampler, "timesteps": started.timesteps, "seed": plan.request.seed}
    settings = plan.request.model_copy(update=said)
    words = ["napari-diffseg", "predict", *_case_words(plan), "--checkpoint", plan.checkpoint, "--out", OUT]
    words += _resample_words(plan.case)
    return words + request_words(settings.model_dump()) + override_words(plan.overrides)


def command_line(record: RunEntry) -> str:
    """`predict_words` as a line for this machine's shell.

    Raises
    ------
    BadRequest
        As `predict_words`.
    """
    words = predict_words(record)
    return subprocess.list2cmdline(words) if sys.platform == "win32" else shlex.join(words)


def _case_words(plan: RunPlan) -> list[str]:
    """The folder in which `predict` finds these very files, or the one file."""
    paths = {name: volume.path for name, volume in plan.case.volumes.items()}
    files = {name: path for name, path in paths.items() if path is not None}
    if len(files) < len(paths):
        raise BadRequest("The images of this run do not come from files: save them for the command line to read.")
    if len(files) == 1:
        ((name, path),) = files.items()
        return [str(path), "--channels", name]
    folders = {path.parent for path in files.values()}
    if len(folders) == 1 and _holds(folder := folders.pop(), files, plan.left_out):
        return [str(folder)]
    raise BadRequest(
        "The command line would not find the images of this run by their names: put them into a folder of their own, "
        "named by modality, such as patient_t1.nii.gz."
    )


def _resample_words(case: Case) -> list[str]:
    """What brings the files to one grid, where the panel has resampled them."""
    references = {volume.resampled_to for volume in case.volumes.values() if volume.resampled_to is not None}
    if len(references) > 1 or not references <= case.volumes.keys():
        raise BadRequest(
            "The images of this run were resampled to one that is not among them: save the resampled layers for the "
            "command line to read."
        )
    return ["--resample", *references] if references else []


def _holds(folder: Path, files: dict[str, Path], left_out: tuple[str, ...]) -> bool:
    """Whether these files, and none of what is left out, are what is found there."""
    from napari_diffseg.imaging.case_files import find_case_files

    try:
        found = find_case_files(folder)
    except BadCase:
        return False
    return all(found.get(name) == path for name, path in files.items()) and not found.keys() & set(left_out)
