"""`napari-diffseg evaluate`."""

from __future__ import annotations

import sys
from pathlib import Path

from napari_diffseg.cli.wording import worded
from napari_diffseg.errors import BadRequest


def evaluate(
    predictions: Path,
    *,
    truth: Path,
    out: Path,
    also: list[Path] | None = None,
    images: Path | None = None,
    reader_pattern: str | None = None,
    labels: str | None = None,
    prediction_labels: str | None = None,
    regions: str | None = None,
    prediction_regions: str | None = None,
    channel: str | None = None,
    bins: int = 10,
    overwrite: bool = False,
) -> int:
    """Measure predictions against the masks that people drew; writes report.json, report.csv and report.html.

    Parameters
    ----------
    predictions
        The folder that predict wrote with --out, or one case's folder in it; or a folder of masks: CASE.nii.gz, as
        other programs write them, or what export wrote, under names of either kind, with maps and members beside them.
    truth
        Folder with CASE_seg.nii.gz, CASE.nii.gz, or several readers' CASE_reader1.nii.gz, ..., in it or below; or the
        folder of the images that were segmented, where masks lie beside them, or in labelsTr or derivatives.
    out
        Folder for the report.
    also
        Further folders that predict wrote, of the same cases in other --timesteps: Dice is plotted against steps, for
        the cases that all folders have on the same slices; the report names those that are left out.
    images
        Folder of the images that were segmented: says where the brain is, and gives the pictures their background.
    reader_pattern
        Names of several readers' masks, such as '{case}_rater*.nii.gz'; {case} stands for the case's name.
    labels
        Labels of the truth that count as lesion, such as 1,4; all above 0 by default.
    prediction_labels
        Labels of the predictions that count as lesion, where they have several, such as 1,3; all above 0 by default.
    regions
        Label values of the truth, where a checkpoint draws several regions: brats for what its labels tell, or
        brats2021, brats2023 or another year, decathlon, nnunet (1, 2, 3 ..., outer regions first). Default: those of
        the checkpoint's training where the truth has no other, else as brats. For label maps of other programs it asks
        for whole tumour, tumour core and enhancing tumour.
    prediction_regions
        Label values of label maps of other programs, likewise. Default: as a dataset.json beside them says, else
        those of the truth.
    channel
        One mask, where a checkpoint draws several, as it stands in the file's name; with --regions also one region of
        label maps of other programs, such as tumour-core. Default: each.
    bins
        Bins of the reliability curve.
    overwrite
        Replace a report that is there.
    """
    from napari_diffseg.extras import check_extra

    wanted, predicted = _labels(labels, "--labels"), _labels(prediction_labels, "--prediction-labels")
    check_extra("evaluation")

    from napari_diffseg.evaluation.report.write_report import check_output, write_report
    from napari_diffseg.evaluation.run import Evaluation, run_evaluation

    asked = Evaluation(
        predictions,
        truth,
        images=images,
        reader_pattern=reader_pattern,
        labels=wanted,
        prediction_labels=predicted,
        channel=channel,
        bins=bins,
        also=tuple(also or ()),
        regions=regions,
        prediction_regions=prediction_regions,
    )
    check_output(out, overwrite=overwrite)
    done = run_evaluation(asked, tell=_say, word=worded)
    if done.report.without_prediction:
        _say(f"truth without a prediction: {', '.join(done.report.without_prediction)}")
    write_report(done.report, done.snapshots, out, overwrite=overwrite)
    sys.stdout.write(f"{out / 'report.html'}\n")
    return 1 if done.report.failed else 0


def _labels(text: str | None, option: str) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        return tuple(int(label) for label in text.split(","))
    except ValueError as err:
        raise BadRequest(f"{option} {text} is not a list of whole numbers: give them as 1,4.") from err


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
