"""`napari-diffseg predict`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Group, Parameter

from napari_diffseg.cli.cohort import Workers, segment_cohort
from napari_diffseg.cli.compute import Compute, engine
from napari_diffseg.cli.overrides import OverrideOptions, Overrides
from napari_diffseg.cli.wording import worded
from napari_diffseg.errors import BadRequest, DiffsegError
from napari_diffseg.events import SegmentRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_diffseg.cohorts.cohort_run import CohortRun
    from napari_diffseg.imaging.case_files import CaseFiles
    from napari_diffseg.runs.run_folder import RunFolder

_SHOWN = 10
_MANY = 10
"""Cases that take longer than a compiler does."""


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
    label_values: str | None = None,
    overwrite: bool = False,
    resume: bool = False,
    compute: Annotated[Compute, Parameter(name="*", group=Group("On another computer", sort_key=7))] = Compute(),
    workers: Annotated[Workers, Parameter(name="*", group=Group("Several cases at once", sort_key=8))] = Workers(),
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
    label_values
        Values of the label map of a checkpoint with several regions: brats2021 (enhancing tumour is 4), brats2023 (3)
        or another year, decathlon, or nnunet (1, 2, 3 ...). Default: those of the checkpoint's training.
    overwrite
        Replace results that are there.
    resume
        Keep finished members that are there and sample only the others.
    """
    from napari_diffseg.cohorts.cohort_run import CohortRun

    if not cases and not image:
        raise BadRequest("No case given: name at least one folder or file. See napari-diffseg predict --help.")
    if name is not None and not image:
        raise BadRequest("--name is for the case of --image: leave it out, or name that case's images.")
    if overwrite and resume:
        raise BadRequest("--overwrite and --resume exclude each other: give one of them.")
    workers.check()
    if compute.compute is not None and (workers.jobs or workers.on):
        raise BadRequest(
            "--compute samples one case after the other on one computer: leave out --jobs and --on; several commands "
            "at once, each with its own computer, share the cases."
        )
    with engine(compute, checkpoint, overrides.given()) as made:
        for guess in made.checkpoint.guesses:
            _say(f"guessed: {guess}")
        run = CohortRun(
            made.segmenter,
            made.checkpoint,
            request,
            out,
            channels=[c.strip() for c in channels.split(",")] if channels else None,
            resample=resample,
            pick=tuple(pick or ()),
            overwrite=overwrite,
            resume=resume,
            label_values=label_values,
            check_engine=made.check,
        )
        return _segment_all(run, cases, image, name, workers, overrides)


def _segment_all(
    run: CohortRun,
    cases: Sequence[Path],
    image: list[str] | None,
    name: str | None,
    workers: Workers,
    overrides: Overrides,
) -> int:
    """Find the cases and segment them; 1 if one failed."""
    from napari_diffseg.imaging.case_files import case_of_images
    from napari_diffseg.regions import with_values_of

    recipe = run.checkpoint.recipe
    with_values_of(recipe.regions, run.label_values)  # what cannot be is refused before a case is read
    named = [case_of_images(image, modalities=recipe.modalities, name=name)] if image else []
    found, failed = _find(cases, named, run)
    if len(found) == 1 and not workers.is_asked_for:
        return 1 if _one(run, found[0]) + failed else 0
    apart, doubled = _each_name_once(found)
    if len(apart) >= _MANY and workers.on is None:
        _tell_of_prepare(run)
    more, is_all = segment_cohort(run, apart, workers, overrides.given()) if apart else (0, True)
    return 1 if failed + doubled + more or not is_all else 0


def _tell_of_prepare(run: CohortRun) -> None:
    """Say that the cases would go faster with a network that was compiled before, where they would."""
    gains = getattr(run.segmenter, "gains_by_compiling", None)  # only an engine in this process tells
    if gains is not None and gains(run.request):
        _say("napari-diffseg prepare makes a faster version of this checkpoint's network for this GPU, once.")


def _one(run: CohortRun, case: CaseFiles) -> int:
    """Segment the only case; 1 if it failed for a reason that is not the command's."""
    try:
        _segment(run, run.folder_of(case))
    except BadRequest:
        raise
    except DiffsegError as err:
        return _report(case.shown, err)
    return 0


def _each_name_once(found: Sequence[CaseFiles]) -> tuple[list[CaseFiles], int]:
    """The cases but for those that would share a folder with an earlier one, and how many these are."""
    from napari_diffseg.cohorts.cohort_run import check_new

    seen = set[str]()
    apart: list[CaseFiles] = []
    for case in found:
        try:
            check_new(case.name, seen)
        except BadRequest as err:
            _report(case.shown, err)
        else:
            apart.append(case)
    return apart, len(found) - len(apart)


def _find(paths: Sequence[Path], named: Sequence[CaseFiles], run: CohortRun) -> tuple[tuple[CaseFiles, ...], int]:
    """The cases that paths hold, and others, each with a name of its own where that can be; how many paths failed."""
    from napari_diffseg.cohorts.find import find_cases

    modalities = run.checkpoint.recipe.modalities
    cohort = find_cases(paths, modalities=modalities, channels=run.channels, pick=run.pick, named=named)
    failed = sum(_report(path, err) for path, err in cohort.refused)
    if cohort.renamed:
        before, told = _listed(list(dict(cohort.renamed))), _listed([new for _, new in cohort.renamed])
        _say(f"Several cases are called {before}: they take the names of their folders: {told}.")
    if len(cohort.cases) + failed > len(paths) + len(named):
        _say(f"{len(cohort.cases)} cases found: {_listed([case.name for case in cohort.cases])}.")
    return cohort.cases, failed


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def _segment(run: CohortRun, folder: RunFolder) -> None:
    from napari_diffseg.cli.progress import show_progress

    name, where = folder.case.id, folder.folder
    if run.is_done(folder):
        _say(f"{name}: nothing is missing in {where}.")
        sys.stdout.write(f"{where}\n")
        return
    events = run.events(folder)
    try:
        show_progress(events, name)
    except KeyboardInterrupt:
        events.close()
        kept = len(folder.finished_members())
        _say(f"{name}: interrupted; {kept} finished members are kept in {where}: --resume goes on.")
        raise
    sys.stdout.write(f"{where}\n")


def _report(source: Path, err: DiffsegError) -> int:
    """One line for a case that failed; the others go on."""
    _say(f"{source}: {worded(err)}")
    return 1


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
