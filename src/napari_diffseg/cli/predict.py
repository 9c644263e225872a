"""`napari-diffseg predict`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from napari_diffseg.cli.overrides import OverrideOptions, Overrides
from napari_diffseg.cli.wording import worded
from napari_diffseg.errors import BadCase, BadRequest, DiffsegError
from napari_diffseg.events import SegmentRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_diffseg.checkpoint import Checkpoint
    from napari_diffseg.imaging.case import Case
    from napari_diffseg.imaging.case_files import CaseFiles
    from napari_diffseg.segmenting.segmenter import LocalSegmenter

_SHOWN = 10


def predict(
    *cases: Path,
    checkpoint: str,
    out: Path,
    request: Annotated[SegmentRequest, Parameter(name="*")] = SegmentRequest(),
    channels: str | None = None,
    resample: str | None = None,
    image: list[str] | None = None,
    name: str | None = None,
    pick: list[str] | None = None,
    overwrite: bool = False,
    resume: bool = False,
    overrides: OverrideOptions = Overrides(),
) -> int:
    """Segment cases and write mask, mean, uncertainty, members and run.json, on the source's voxels.

    Parameters
    ----------
    cases
        Folders of one case or of several; 4-D or single-modality image files.
    checkpoint
        A .safetensors or .pt file, or `demo` for the shipped one.
    out
        Folder for the results; each case gets a folder of its own in it.
    channels
        Modality of each channel of a 4-D file, in order, such as flair,t1,t1ce,t2; `other` is not read.
    resample
        Modality to whose grid the others are resampled when they differ.
    image
        One image of one more case, as MODALITY=FILE, such as t1=MPRAGE.nii.gz; once for each of its images.
    name
        What the case of --image is called; by default subject and session of BIDS, or the folder of its first image.
    pick
        Which of several images of one modality to take: a pattern of file names, such as '*_bias*', or an entity of
        BIDS, such as acq-3d; may be given several times.
    overwrite
        Replace results that are there.
    resume
        Keep finished members that are there and sample only the others.
    """
    from napari_diffseg.checkpoint import load_checkpoint, resolve_checkpoint
    from napari_diffseg.imaging.case_files import case_of_images
    from napari_diffseg.segmenting.segmenter import LocalSegmenter

    if not cases and not image:
        raise BadRequest("No case given: name at least one folder or file. See napari-diffseg predict --help.")
    if name is not None and not image:
        raise BadRequest("--name is for the case of --image: leave it out, or name that case's images.")
    if overwrite and resume:
        raise BadRequest("--overwrite and --resume exclude each other: give one of them.")
    loaded = load_checkpoint(resolve_checkpoint(checkpoint), **overrides.given())
    for guess in loaded.guesses:
        _say(f"guessed: {guess}")
    segmenter = LocalSegmenter(loaded, preview_interval_s=None)
    names = [c.strip() for c in channels.split(",")] if channels else None
    named = [case_of_images(image, modalities=loaded.recipe.modalities, name=name)] if image else []
    picked = tuple(pick or ())
    found, failed = _find(cases, named, loaded, names, picked)
    seen = set[str]()
    for one in found:
        try:
            case = _read(one, loaded, names, resample, picked)
            _check_new(case, seen)
            _segment(case, segmenter, loaded, request, out / case.id, overwrite=overwrite, resume=resume)
        except BadRequest:
            if len(found) == 1:
                raise
            failed += _report(one.shown)
        except DiffsegError:
            failed += _report(one.shown)
    return 1 if failed else 0


def _find(
    paths: Sequence[Path],
    named: Sequence[CaseFiles],
    checkpoint: Checkpoint,
    channels: list[str] | None,
    pick: Sequence[str],
) -> tuple[list[CaseFiles], int]:
    """The cases that paths hold, and others, each with a name of its own where that can be; how many paths failed."""
    from napari_diffseg.imaging.case_files import find_case_sources, told_apart

    found = list(named)
    failed = 0
    for path in paths:
        try:
            here = find_case_sources(path, modalities=checkpoint.recipe.modalities, channels=channels, pick=pick)
        except DiffsegError:
            failed += _report(path)
        except OSError as err:
            _say(f"{path}: It cannot be looked at: {err.strerror}: allow reading it, or choose another.")
            failed += 1
        else:
            found += here
    apart = told_apart(found)
    if renamed := [(old.name, new.name) for old, new in zip(found, apart, strict=True) if old.name != new.name]:
        told = _listed([new for _, new in renamed])
        _say(f"Several cases are called {_listed(list(dict(renamed)))}: they take the names of their folders: {told}.")
    if len(found) + failed > len(paths) + len(named):
        _say(f"{len(apart)} cases found: {_listed([case.name for case in apart])}.")
    return apart, failed


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def _read(
    case: CaseFiles, checkpoint: Checkpoint, channels: list[str] | None, resample: str | None, pick: Sequence[str]
) -> Case:
    from napari_diffseg.imaging.case import read_case

    recipe = checkpoint.recipe
    try:
        return read_case(
            case.readable(),
            modalities=recipe.modalities,
            may_miss=recipe.may_miss,
            channels=channels,
            resample_to=resample,
            case_id=case.name,
            pick=pick,
        )
    except OSError as err:
        raise BadCase(f"It cannot be looked at: {err.strerror}: allow reading it, or choose another.") from err


def _check_new(case: Case, seen: set[str]) -> None:
    """Two cases of one name would share a folder."""
    if case.id in seen:
        raise BadRequest(f"Two cases are called {case.id}: their results would share a folder; run them one by one.")
    seen.add(case.id)


def _segment(
    case: Case,
    segmenter: LocalSegmenter,
    checkpoint: Checkpoint,
    request: SegmentRequest,
    folder: Path,
    *,
    overwrite: bool,
    resume: bool,
) -> None:
    from napari_diffseg.cli.progress import show_progress
    from napari_diffseg.runs.keep import keep_run
    from napari_diffseg.runs.run_folder import RunFolder

    run_folder = RunFolder(folder, case, checkpoint, request)
    if resume and run_folder.is_complete():
        _say(f"{case.id}: nothing is missing in {folder}.")
        sys.stdout.write(f"{folder}\n")
        return
    events = keep_run(segmenter, run_folder, overwrite=overwrite, resume=resume)
    try:
        show_progress(events, case.id)
    except KeyboardInterrupt:
        events.close()
        kept = len(run_folder.finished_members())
        _say(f"{case.id}: interrupted; {kept} finished members are kept in {folder}: --resume goes on.")
        raise
    sys.stdout.write(f"{folder}\n")


def _report(source: Path) -> int:
    """One line for a case that failed; the others go on."""
    err = sys.exc_info()[1]
    _say(f"{source}: {worded(err) if isinstance(err, DiffsegError) else err}")
    return 1


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
