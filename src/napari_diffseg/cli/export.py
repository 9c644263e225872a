"""`napari-diffseg export`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from napari_diffseg.cli.wording import worded
from napari_diffseg.errors import BadCase, BadRequest, DiffsegError

if TYPE_CHECKING:
    from napari_diffseg.ensemble.summary import Rule
    from napari_diffseg.reporting import ReportChoice
    from napari_diffseg.runs.edited_mask import EditedMask
    from napari_diffseg.runs.export import ExportChoice
    from napari_diffseg.runs.stored_run import StoredRun


def export(
    *runs: Path,
    out: Path,
    what: str = "mask,label-map,mean,uncertainty,probability,expected,members",
    names: Literal["pattern", "bids", "nnunet"] = "pattern",
    pattern: str = "{case}_{what}",
    label_values: str | None = None,
    like: Path | None = None,
    rule: Literal["majority", "mean", "probability", "staple"] | None = None,
    threshold: float | None = None,
    staple: bool = False,
    measure: Literal["variance", "entropy", "disagreement", "probability"] = "variance",
    smoothing_mm: float | None = None,
    unrefined: bool = False,
    report: bool = False,
    pictures: bool = False,
    image: Path | None = None,
    series: Path | None = None,
    edited: bool = False,
    truth: Path | None = None,
    smallest_lesion_ml: float | None = None,
    view: Literal["radiological", "neurological"] = "radiological",
    overwrite: bool = False,
) -> int:
    """Write results of finished or interrupted runs under names of your choice, or as a BIDS derivative.

    Parameters
    ----------
    runs
        Folders that `predict` or the panel left, or what was given to `predict --out`: all runs in it.
    out
        Folder to write to; made if it is not there.
    what
        Of mask, label-map, mean, uncertainty, probability, expected and members, with commas; a map that a run does not
        have is left out. label-map is one file with all regions of a run that has several; expected is the one-step
        estimate (x_0 after one evaluation). By name alone: npz, probabilities as nnU-Net writes them (CASE.npz with
        CASE.pkl), for nnUNetv2_ensemble; dicom, the mask and its probability as DICOM segmentations (SEG) of --series.
    names
        pattern; bids: sub-X/anat/sub-X_desc-diffseg_mask.nii.gz with sidecars; or nnunet: the label map alone, as
        CASE.nii.gz with labels 1, 2, 3 ..., and dataset.json.
    pattern
        File names, with {what} and {case}; where one thing is written of a case, {case} is enough.
    label_values
        Values of the label map: brats2021 (enhancing tumour is 4), brats2023 (3) or another year, decathlon, or nnunet
        (1, 2, 3 ...). Default: those of the checkpoint's training.
    like
        Image to resample to: masks by nearest neighbour, maps linearly. Default: the source's voxels.
    rule
        How members become the mask: their majority, their mean above --threshold, the smoothed probability above 0.5,
        or STAPLE (Warfield 2004, of SimpleITK). Default: the run's own, or mean where a threshold is given.
    threshold
        Mean above which a voxel is in the mask, 0.05 to 0.95, for --rule mean.
    staple
        The same as --rule staple.
    measure
        What the uncertainty is: of the members, or, for probability, p (1 - p) of the smoothed probability.
    smoothing_mm
        Gaussian smoothing (mm) of the vote map, 0 to 5, for the smoothed probability; 0: off. Default: the run's own.
    unrefined
        Take the one-step estimate as it is for the smoothed probability, also where the run refines it by brightness.
    report
        One page of HTML, too: volumes, slices, lesions, settings, and how to make the run again.
    pictures
        A PNG of every slice with lesion, too.
    image
        What page and pictures show behind the masks. Default: the mean of the members. For dicom: an image of the run,
        where that was not read from the series itself, to tell whether both show the same patient.
    series
        For dicom: folder of the DICOM series on whose voxels the run is.
    edited
        The mask last corrected by hand in the panel, too, beside what was sampled; page and pictures are then of it.
    truth
        Ground truth of the case (a mask or a label map): the page has the Dice with it.
    smallest_lesion_ml
        Volume (ml) from which the page lists a connected component as a lesion. Default: a sphere 3 mm across
        (0.014 ml), or 3 voxels across if that is more.
    view
        Of page and pictures: radiological has the patient's left on the right, neurological on the left.
    overwrite
        Replace files that are there.
    """
    from napari_diffseg.appearance import Convention
    from napari_diffseg.ensemble.summary import MAJORITY, Measure, Rule, Summary
    from napari_diffseg.extras import check_extra
    from napari_diffseg.imaging.formats.nifti import read_grid, read_mask, read_volume
    from napari_diffseg.reporting import ReportChoice
    from napari_diffseg.runs.dicom_seg import SegChoice
    from napari_diffseg.runs.export import KINDS, ExportChoice
    from napari_diffseg.runs.export_plan import refuse_collisions
    from napari_diffseg.runs.layout import DEFAULT_PATTERN, Style
    from napari_diffseg.runs.stored_run import find_runs

    if not runs:
        raise BadRequest("No run given: name at least one folder. See napari-diffseg export --help.")
    asked = [word.strip() for word in what.split(",")]
    unknown = [word for word in asked if word not in KINDS]
    if unknown:
        raise BadRequest(f"--what {', '.join(unknown)} is not known: choose of {', '.join(KINDS)}.")
    made_by = _rule(rule, threshold=threshold, staple=staple)
    if made_by is Rule.STAPLE:
        check_extra("consensus")
    if image is not None and not (report or pictures or "dicom" in asked):
        raise BadRequest("--image is what --report and --pictures show: ask for one of them.")
    if not report and (truth is not None or smallest_lesion_ml is not None):
        raise BadRequest("--truth and --smallest-lesion-ml are for --report: ask for it, too.")
    if names != "pattern" and pattern != DEFAULT_PATTERN:
        raise BadRequest(f"--pattern is for --names pattern: leave it out, or --names {names}.")
    if series is not None and "dicom" not in asked:
        raise BadRequest("--series is for --what dicom: ask for it, too.")
    shown = None if image is None else read_volume(image)
    seg = None if series is None else SegChoice(series, () if shown is None else (shown,))
    choice = ExportChoice(
        what=tuple(word for word in KINDS if word in asked),
        style=Style(names),
        pattern=pattern,
        summary=Summary(
            made_by, MAJORITY if threshold is None else threshold, Measure(measure), smoothing_mm, not unrefined
        ),
        like=None if like is None else read_grid(like),
        overwrite=overwrite,
        label_values=label_values,
        seg=seg,
    )
    also = None
    if report or pictures:
        true = None if truth is None else read_mask(truth)
        behind = image.name if image else ""
        also = ReportChoice(report, pictures, shown, behind, Convention(view), true, smallest_lesion_ml)
    folders = list({folder.resolve(): folder for named in runs for folder in find_runs(named)}.values())
    refuse_collisions(folders, out, choice)
    whole = [_is_exported(folder, out, choice, also, edited=edited) for folder in folders]
    return 0 if all(whole) else 1


def _rule(word: str | None, *, threshold: float | None, staple: bool) -> Rule | None:
    """The rule that the options ask for; None is each run's own."""
    from napari_diffseg.ensemble.summary import Rule

    given = [word] if word else []
    given += ["staple"] if staple and word != "staple" else []
    given += ["mean"] if threshold is not None and word != "mean" else []
    if len(given) > 1:
        options = {"staple": "--staple", "mean": "--threshold"}
        told = [f"--rule {word}"] if word else []
        told += [options[one] for one in given[len(told) :]]
        raise BadRequest(f"{' and '.join(told)} are two ways to make the mask: give one of them.")
    return Rule(given[0]) if given else None


def _is_exported(
    folder: Path, out: Path, choice: ExportChoice, also: ReportChoice | None, *, edited: bool = False
) -> bool:
    """Write one run's files, and whether that worked; why not is said, and the others go on."""
    from napari_diffseg.reporting import RunReport, export_all
    from napari_diffseg.runs.stored_run import read_run

    try:
        run = read_run(folder)
        sys.stderr.writelines(f"{note}\n" for note in run.notes)
        corrected = _last_edited(run) if edited else None
        page = None if also is None else RunReport(run, also, choice, corrected)
        for path in export_all(run, out, choice, page, corrected):
            sys.stdout.write(f"{path}\n")
    except BadRequest:
        raise
    except DiffsegError as err:
        sys.stderr.write(f"{folder}: {worded(err)}\n")
        return False
    return True


def _last_edited(run: StoredRun) -> EditedMask:
    from napari_diffseg.runs.edited_mask import read_edited

    found = read_edited(run.folder, run.grid.shape)
    if not found:
        raise BadCase(f"{run.folder} holds no mask that was corrected by hand: correct one in the panel.")
    return found[-1]
