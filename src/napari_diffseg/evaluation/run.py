"""An evaluation from folders to a report: one case after another in memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from napari_diffseg.errors import BadCase, BadRequest, DiffsegError
from napari_diffseg.evaluation.case_scores import CaseScores, score_case
from napari_diffseg.evaluation.predicted import Predicted, find_predictions, read_prediction
from napari_diffseg.evaluation.region import Region, brain_of_images, read_images, region_around
from napari_diffseg.evaluation.report import Report, make_report
from napari_diffseg.evaluation.snapshot import Snapshot, take_snapshot
from napari_diffseg.evaluation.truth import Truth, cases_with_truth, find_truth, read_truth

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari_diffseg.imaging.volume import Volume


@dataclass(frozen=True)
class Evaluation:
    """What is evaluated against what.

    Attributes
    ----------
    predictions : Path
        The folder that `predict` wrote, or one case of it.
    truth : Path
        Folder of the truth, see `find_truth`.
    images : Path or None
        Folder of the images that were segmented; says where the brain is.
    reader_pattern : str or None
        Names of several readers' masks.
    labels : tuple of int or None
        Labels of the truth that count as lesion; all above 0 by default.
    channel : str or None
        Which of several predicted masks.
    bins : int
        Of the reliability curve, at least 2.
    also : tuple of Path
        Further folders that `predict` wrote, of the same cases in other steps.

    Raises
    ------
    BadRequest
        If there are too few bins.
    """

    predictions: Path
    truth: Path
    images: Path | None = None
    reader_pattern: str | None = None
    labels: tuple[int, ...] | None = None
    channel: str | None = None
    bins: int = 10
    also: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        if self.bins < 2:
            raise BadRequest(f"{self.bins} bins are too few for a reliability curve: ask for at least 2.")

    def settings(self) -> dict[str, object]:
        """What was asked for, for the report; folders by name, not by where they lie on this machine."""
        return {
            "predictions": self.predictions.name,
            "truth": self.truth.name,
            "images": None if self.images is None else self.images.name,
            "reader pattern": self.reader_pattern,
            "labels": "all above 0" if self.labels is None else list(self.labels),
            "channel": self.channel,
            "bins": self.bins,
            "also": ", ".join(folder.name for folder in self.also) or None,
        }


@dataclass
class Evaluated:
    """The report, and a picture of each case."""

    report: Report
    snapshots: list[Snapshot] = field(default_factory=list)


def run_evaluation(evaluation: Evaluation, *, tell: Callable[[str], None]) -> Evaluated:
    """Measure all cases; one that cannot be measured is named in the report, and the others go on.

    Parameters
    ----------
    evaluation : Evaluation
        What to measure.
    tell : callable
        Gets one line for each case.

    Raises
    ------
    BadCase
        If a folder cannot be read, or not one case could be measured.
    """
    found = find_predictions(evaluation.predictions)
    with_truth = cases_with_truth(evaluation.truth)
    scores: list[CaseScores] = []
    snapshots: list[Snapshot] = []
    failed: dict[str, str] = {}
    for case_id, folder in found.items():
        try:
            case, snapshot = _one(evaluation, case_id, folder)
        except DiffsegError as err:
            failed[case_id] = str(err)
            tell(str(err))
            continue
        scores.append(case)
        snapshots.append(snapshot)
        tell(f"{case_id}: Dice {case.overlap.dice:.3f}")
    if not scores:
        raise BadCase(f"None of {len(found)} cases could be measured: {next(iter(failed.values()))}")
    also = [case for folder in evaluation.also for case in _others(evaluation, folder, failed=failed, tell=tell)]
    report = make_report(
        scores,
        settings=evaluation.settings(),
        failed=failed,
        without_prediction=sorted(with_truth - set(found)),
        also=also,
    )
    return Evaluated(report, snapshots)


def _others(
    evaluation: Evaluation, folder: Path, *, failed: dict[str, str], tell: Callable[[str], None]
) -> list[CaseScores]:
    """The cases of a further folder, measured alike; what cannot be is added to `failed`."""
    scores = []
    for case_id, place in find_predictions(folder).items():
        try:
            case, _ = _one(evaluation, case_id, place)
        except DiffsegError as err:
            failed[f"{case_id} in {folder.name}"] = str(err)
            tell(str(err))
            continue
        scores.append(case)
        tell(f"{case_id} in {folder.name}: Dice {case.overlap.dice:.3f}")
    return scores


def _one(evaluation: Evaluation, case_id: str, folder: Path) -> tuple[CaseScores, Snapshot]:
    predicted = read_prediction(folder, case_id=case_id, channel=evaluation.channel)
    files = find_truth(evaluation.truth, case_id, reader_pattern=evaluation.reader_pattern)
    truth = read_truth(files, predicted.grid, case_id=case_id, labels=evaluation.labels)
    region, image = _region(evaluation, predicted, truth)
    case = score_case(predicted, truth, region, bins=evaluation.bins)
    return case, take_snapshot(predicted, truth.majority, dice=case.overlap.dice, image=image)


def _region(evaluation: Evaluation, predicted: Predicted, truth: Truth) -> tuple[Region, Volume | None]:
    if evaluation.images is not None:
        images = read_images(evaluation.images, predicted.grid, case_id=predicted.case_id)
        return brain_of_images(images), images.volumes.get("flair", images.grid_volume)
    seen = predicted.mask if predicted.mean is None else predicted.mean > 0
    return region_around(np.asarray(seen | truth.readers.any(axis=0)), predicted.grid.spacing_mm), None
