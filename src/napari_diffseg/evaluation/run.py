"""An evaluation from folders to a report: one case after another in memory."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from napari_diffseg.errors import BadCase, BadRequest, DiffsegError, GridMismatch, Remedy
from napari_diffseg.evaluation.cases.by_steps import LeftOut, PredictedFolder, sort_out
from napari_diffseg.evaluation.cases.case_scores import CaseScores, score_case
from napari_diffseg.evaluation.cases.find_predictions import find_predictions
from napari_diffseg.evaluation.cases.find_truth import TruthFolder
from napari_diffseg.evaluation.cases.labels import check_labels_occur, check_lesion_labels
from napari_diffseg.evaluation.cases.predicted import Predicted, read_prediction
from napari_diffseg.evaluation.cases.regions import (
    BRATS,
    MeasuredRegion,
    labels_of,
    measured_of_label_map,
    measured_of_run,
    regions_of_run,
    truth_of_one,
    truth_regions,
)
from napari_diffseg.evaluation.cases.truth import Truth, read_truth
from napari_diffseg.evaluation.metrics.region import Region, brain_of_images, image_cases, read_images, region_around
from napari_diffseg.evaluation.report.report import Report, make_report
from napari_diffseg.evaluation.report.snapshot import Snapshot, take_snapshot
from napari_diffseg.regions import NNUNET, convention_named, part_named

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from napari_diffseg.evaluation.cases.prediction_files import PredictionFiles
    from napari_diffseg.imaging.case_files import CaseFiles
    from napari_diffseg.imaging.volume import Volume


@dataclass(frozen=True)
class Evaluation:
    """What is evaluated against what.

    Attributes
    ----------
    predictions : Path
        The folder that `predict` wrote, or one case of it, or one of masks, see `find_predictions`.
    truth : Path
        Folder of the truth, see `TruthFolder`.
    images : Path or None
        Folder of the images that were segmented; says where the brain is.
    reader_pattern : str or None
        Names of several readers' masks.
    labels : tuple of int or None
        Labels of the truth that count as lesion; all above 0 by default.
    prediction_labels : tuple of int or None
        Those of the predictions, likewise.
    channel : str or None
        Which of several predicted masks, or, of label maps whose regions are asked for, which region.
    bins : int
        Of the reliability curve, at least 2.
    regions : str or None
        Whose label values the truth has where there are several regions, see `truth_regions`; for label maps of other
        programs it asks for regions, too.
    prediction_regions : str or None
        The same for label maps of other programs.
    also : tuple of Path
        Further folders that `predict` wrote, of the same cases in other steps. What of them cannot be measured is in
        the report under the path that is given here, as several folders may have one name.

    Raises
    ------
    BadRequest
        If there are too few bins, a label is not above 0, or there are no such regions.
    """

    predictions: Path
    truth: Path
    images: Path | None = None
    reader_pattern: str | None = None
    labels: tuple[int, ...] | None = None
    channel: str | None = None
    bins: int = 10
    also: tuple[Path, ...] = ()
    prediction_labels: tuple[int, ...] | None = None
    regions: str | None = None
    prediction_regions: str | None = None

    def __post_init__(self) -> None:
        if self.bins < 2:
            raise BadRequest(f"{self.bins} bins are too few for a reliability curve: ask for at least 2.")
        check_lesion_labels(self.labels or (), setting="labels")
        check_lesion_labels(self.prediction_labels or (), setting="prediction_labels")
        if self.regions is not None and self.labels is not None:
            raise BadRequest("Labels and regions both say which labels of the truth count: give one of them.")
        if self.prediction_regions is not None and self.regions is None:
            raise BadRequest(
                "Regions of the predictions are of no use without those of the truth: say whose labels it has.",
                Remedy("regions", BRATS),
            )
        if self.prediction_labels is not None and self.regions is not None:
            raise BadRequest("Labels of the predictions are of no use where regions are measured: give one of them.")
        for word in (self.regions, self.prediction_regions):
            if word is not None and word.strip().lower() not in (BRATS, NNUNET):
                convention_named(word)

    def settings(self) -> dict[str, object]:
        """What was asked for, for the report; folders by name, not by where they lie on this machine."""
        return {
            "predictions": self.predictions.name,
            "truth": self.truth.name,
            "images": None if self.images is None else self.images.name,
            "reader pattern": self.reader_pattern,
            "labels": "all above 0" if self.labels is None else list(self.labels),
            "prediction labels": "all above 0" if self.prediction_labels is None else list(self.prediction_labels),
            "regions": self.regions,
            "prediction regions": self.prediction_regions,
            "channel": self.channel,
            "bins": self.bins,
            "also": ", ".join(folder.name for folder in self.also) or None,
        }


@dataclass
class Evaluated:
    """The report, and a picture of each case."""

    report: Report
    snapshots: list[Snapshot] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Told:
    """Whom to tell, in which words, and what could not be measured."""

    tell: Callable[[str], None]
    word: Callable[[DiffsegError], str]
    failed: dict[str, DiffsegError]


@dataclass(frozen=True)
class _Sources:
    """Where the truth of the cases is found, and their images."""

    truth: TruthFolder
    images: Mapping[str, CaseFiles]
    found: Mapping[str, PredictionFiles]

    @cached_property
    def labels(self) -> set[int]:
        """All labels of the truth; read once, where regions need them."""
        return labels_of(_truths(self.truth, self.found))

    @cached_property
    def predicted_labels(self) -> set[int]:
        """All labels of label maps that other programs wrote; likewise."""
        return labels_of(files.alone for files in self.found.values() if files.alone is not None)


def run_evaluation(
    evaluation: Evaluation, *, tell: Callable[[str], None], word: Callable[[DiffsegError], str] = str
) -> Evaluated:
    """Measure all cases; one that cannot be measured is named in the report, and the others go on.

    Parameters
    ----------
    evaluation : Evaluation
        What to measure.
    tell : callable
        Gets one line for each case, with its notes, and one for what is left out of the comparison by steps, and why.
    word : callable
        How the front end words an error, for these lines.

    Raises
    ------
    BadCase
        If a folder cannot be read, a further one included: before any case is measured. Or if not one could be.
    BadRequest
        If a label that counts as lesion occurs in no truth of the cases, or no case has the regions that are asked for,
        before any is measured.
    """
    found = find_predictions(evaluation.predictions)
    also = [(str(folder), find_predictions(folder)) for folder in evaluation.also]
    truth = TruthFolder(evaluation.truth, reader_pattern=evaluation.reader_pattern)
    truth.check_readable()
    if evaluation.labels is not None:
        check_labels_occur(evaluation.labels, _truths(truth, found))
    failed: dict[str, DiffsegError] = {}
    told = _Told(tell, word, failed)
    sources = _Sources(truth, {} if evaluation.images is None else image_cases(evaluation.images), found)
    _check_regions(evaluation, sources)
    measured = list(_measured(evaluation, sources, found, told))
    if not measured:
        first = next(iter(failed.values()))
        raise BadCase(f"None of {len(found)} cases could be measured: {first}", *first.remedies)
    scores = [region for case, _ in measured for region in case]
    compared, left_out = _compared(evaluation, sources, [case[0] for case, _ in measured], also, told)
    report = make_report(
        [_with_notes(case, left_out) for case in scores],
        settings=evaluation.settings(),
        failed={name: str(err) for name, err in failed.items()},
        without_prediction=sorted(truth.unused(found)),
        notes=[one.line for one in left_out if not one.cases or set(one.cases) - {case.case for case in scores}],
        compared=compared,
    )
    return Evaluated(report, [snapshot for _, snapshot in measured])


def _check_regions(evaluation: Evaluation, sources: _Sources) -> None:
    """Refuse at once what would be refused of each case by itself."""
    refused: list[BadRequest] = []
    for files in sources.found.values():
        try:
            _regions(evaluation, files, sources)
        except BadRequest as err:
            refused.append(err)
        else:
            return
    if refused:
        raise refused[0]


def _truths(truth: TruthFolder, cases: Iterable[str]) -> Iterator[Path]:
    """All masks of the truth, as far as they are found: a case without one is said not to be measured."""
    for case_id in cases:
        with contextlib.suppress(BadCase):
            yield from truth.of(case_id)


def _compared(
    evaluation: Evaluation,
    sources: _Sources,
    scores: Sequence[CaseScores],
    also: Sequence[tuple[str, Mapping[str, PredictionFiles]]],
    told: _Told,
) -> tuple[Sequence[CaseScores], Sequence[LeftOut]]:
    """The cases that are compared by steps, those of further folders measured alike; and what is not."""
    folders = [PredictedFolder(str(evaluation.predictions), tuple(scores))]
    for name, found in also:
        others = _measured(evaluation, sources, found, told, where=name)
        folders.append(PredictedFolder(name, tuple(case[0] for case, _ in others)))
    compared, left_out = sort_out(folders) if also else ((), ())
    for one in left_out:
        told.tell(one.line)
    return compared, left_out


def _measured(
    evaluation: Evaluation,
    sources: _Sources,
    found: Mapping[str, PredictionFiles],
    told: _Told,
    *,
    where: str | None = None,
) -> Iterator[tuple[list[CaseScores], Snapshot]]:
    """One case of a folder after another, its regions together; what cannot be measured is told."""
    for case_id, files in found.items():
        name = case_id if where is None else f"{case_id} in {where}"
        try:
            case, snapshot = _one(evaluation, case_id, files, sources)
        except DiffsegError as err:
            told.failed[name] = err
            told.tell(told.word(err) if where is None else f"{where}: {told.word(err)}")
            continue
        notes = f" ({'; '.join(case[0].notes)})" if case[0].notes else ""
        dice = ", ".join(f"{region.label} {region.overlap.dice:.3f}".strip() for region in case)
        told.tell(f"{name}: Dice {dice}{notes}")
        yield case, snapshot


def _with_notes(case: CaseScores, left_out: Sequence[LeftOut]) -> CaseScores:
    return replace(case, notes=(*case.notes, *(one.note for one in left_out if case.case in one.cases)))


def _one(
    evaluation: Evaluation, case_id: str, files: PredictionFiles, sources: _Sources
) -> tuple[list[CaseScores], Snapshot]:
    """A case's scores, of each of its regions, and a picture of the first one."""
    drawn = sources.truth.of(case_id)
    done = [
        _one_region(evaluation, case_id, files, drawn, sources, region)
        for region in _regions(evaluation, files, sources)
    ]
    return [case for case, _ in done], done[0][1]


def _regions(evaluation: Evaluation, files: PredictionFiles, sources: _Sources) -> list[MeasuredRegion]:
    """What of a case is measured: the regions of a run, or of label maps where that is asked for."""
    asked, channel = evaluation.regions, evaluation.channel
    if evaluation.labels is None and (regions := regions_of_run(files)):
        if asked is None and len(regions) == 1:
            own = regions[0]
            is_part = part_named(own.name) is not None  # of all other regions all labels count, unread
            return measured_of_run(regions, [truth_of_one(own, sources.labels if is_part else ())], channel)
        if asked is not None or channel is None or any(region.values for region in regions):
            return measured_of_run(regions, truth_regions(asked, regions, sources.labels), channel)
    if asked is not None and files.alone is not None:
        beside = files.alone.parent
        return measured_of_label_map(asked, evaluation.prediction_regions, sources, beside=beside, channel=channel)
    return [MeasuredRegion("", channel, evaluation.labels, evaluation.prediction_labels)]


def _one_region(
    evaluation: Evaluation,
    case_id: str,
    files: PredictionFiles,
    drawn: Sequence[Path],
    sources: _Sources,
    measured: MeasuredRegion,
) -> tuple[CaseScores, Snapshot]:
    predicted = _read(measured, case_id, files)
    try:
        truth = read_truth(drawn, predicted.grid, case_id=case_id, labels=measured.labels)
    except GridMismatch as err:
        if files.alone is not None:
            raise
        raise GridMismatch(
            f"{err} Or export the run on the grid of the truth, and evaluate that.", *err.remedies
        ) from err
    region, image = _region(evaluation, predicted, truth, sources.images)
    label = measured.name if measured.is_one_of_several else ""
    case = score_case(predicted, truth, region, bins=evaluation.bins, label=label)
    return case, take_snapshot(predicted, truth.majority, dice=case.overlap.dice, image=image)


def _read(measured: MeasuredRegion, case_id: str, files: PredictionFiles) -> Predicted:
    wanted = measured.prediction_labels
    predicted = read_prediction(files, case_id=case_id, channel=measured.channel, labels=wanted)
    if measured.name and (measured.is_one_of_several or measured.labels is not None):
        labels = "all above 0" if measured.labels is None else " ".join(map(str, measured.labels))
        note = f"{measured.name}: labels {labels} of the truth"
        return replace(predicted, notes=(*predicted.notes, note))
    if measured.labels is None or wanted is not None or predicted.grid.data.max() <= 1:
        return predicted
    note = "the prediction's labels all count as lesion, but not the truth's: choose those of the predictions, too"
    return replace(predicted, notes=(*predicted.notes, note))


def _region(
    evaluation: Evaluation, predicted: Predicted, truth: Truth, images: Mapping[str, CaseFiles]
) -> tuple[Region, Volume | None]:
    if evaluation.images is not None:
        case = read_images(evaluation.images, predicted.grid, case_id=predicted.case_id, cases=images)
        return brain_of_images(case), case.volumes.get("flair", case.grid_volume)
    seen = predicted.mask | predicted.members.any(axis=0)
    if not len(predicted.members) and predicted.mean is not None:
        seen = predicted.mean > 0
    return region_around(np.asarray(seen | truth.readers.any(axis=0)), predicted.grid.spacing_mm), None
