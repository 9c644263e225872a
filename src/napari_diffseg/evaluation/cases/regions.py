"""Which regions of a case are measured, and which labels of the prediction and of the truth each is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_diffseg.errors import BadCase, BadRequest, DiffsegError, Remedy
from napari_diffseg.imaging.dataset_json import label_names
from napari_diffseg.imaging.formats.nifti import read_mask
from napari_diffseg.regions import CONVENTIONS, brats_convention, convention_named, regions_described, with_values_of
from napari_diffseg.runs.result_names import channel_tails

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from pathlib import Path

    from napari_diffseg.evaluation.cases.prediction_files import PredictionFiles
    from napari_diffseg.regions import Region


@dataclass(frozen=True, slots=True)
class MeasuredRegion:
    """One mask of a case that is held against the truth.

    Attributes
    ----------
    name : str
        Of the region, for the report; empty where a case has one mask.
    channel : str or None
        Which of several masks, as it stands in files' names.
    labels : tuple of int or None
        Labels of the truth that count; all above 0 by default.
    prediction_labels : tuple of int or None
        Those of the prediction's mask, likewise.
    """

    name: str = ""
    channel: str | None = None
    labels: tuple[int, ...] | None = None
    prediction_labels: tuple[int, ...] | None = None


def regions_of_run(files: PredictionFiles) -> tuple[Region, ...]:
    """The regions of a run with several, as its record tells them; none of other predictions."""
    try:
        record = files.record()
    except BadCase:
        return ()
    regions = () if record is None else record.recipe.regions
    return regions if len(regions) > 1 else ()


def measured_of_run(regions: Sequence[Region], truth: Sequence[Region], channel: str | None) -> list[MeasuredRegion]:
    """All regions of a run, or the one that is named as in files' names, with their labels of the truth."""
    tails = [tail.removeprefix("_") for tail in channel_tails([region.name for region in regions])]
    found = [
        MeasuredRegion(region.name if channel is None else "", tail, drawn.values)
        for region, tail, drawn in zip(regions, tails, truth, strict=True)
        if channel in (None, tail)
    ]
    return found or [MeasuredRegion(channel=channel)]  # what is wrong with the name is said where the mask is read


def measured_of_label_map(
    asked: str, prediction: str | None, values: Collection[int], *, beside: Path
) -> list[MeasuredRegion]:
    """The regions of label maps that another program wrote.

    Parameters
    ----------
    asked : str
        Whose label values the truth has, as `truth_regions` takes it.
    prediction : str, optional
        The same for the predictions. By default a `dataset.json` beside them says it, else they are as the truth's.
    values : collection of int
        Labels of all truth.
    beside : Path
        Folder of the predictions.
    """
    drawn = truth_regions(asked, CONVENTIONS["brats2021"], values)
    said = regions_described(label_names(beside)) if prediction is None else None
    if said is not None:
        predicted: Sequence[Region] = with_names_of(said, drawn)
    else:
        predicted = drawn if prediction is None else with_values_of(drawn, prediction)
    return [
        MeasuredRegion(region.name, None, region.values, ours.values)
        for region, ours in zip(drawn, predicted, strict=True)
    ]


def with_names_of(regions: Sequence[Region], wanted: Sequence[Region]) -> list[Region]:
    """Those of some regions that have the names of others, in their order."""
    by_name = {region.name: region for region in regions}
    return [by_name[region.name] for region in wanted]


def truth_regions(asked: str | None, regions: Sequence[Region], values: Collection[int]) -> tuple[Region, ...]:
    """The same regions by the labels that they have in the truth.

    Parameters
    ----------
    asked : str, optional
        Whose values those are, see `with_values_of`; `brats` for the year that the labels tell. By default the
        regions' own, where these hold all labels that occur, else those of the year of BraTS that the labels tell.
    regions : sequence of Region
        Of the prediction.
    values : collection of int
        All labels above 0 that occur in the truth of any case.

    Raises
    ------
    BadRequest
        If the labels do not tell; the text says why.
    """
    if asked is not None and asked.strip().lower() != "brats":
        convention = convention_named(asked)
        strange = sorted(set(values) - {v for region in CONVENTIONS[convention] for v in region.values})
        if strange:
            raise BadRequest(
                f"The truth holds label {strange[0]}, which {convention} does not have: name another year or data set.",
                Remedy("regions"),
            )
        return with_values_of(regions, convention)
    own = {value for region in regions for value in region.values}
    if set(values) == {1} and sum(1 in region.values for region in regions) != 1:
        raise BadRequest(
            "The truth holds label 1 alone, which says nothing of regions: name the mask that it is of.",
            Remedy("channel"),
        )
    if asked is None and own and set(values) <= own:
        return tuple(regions)
    try:
        return with_values_of(regions, brats_convention(values) or "brats2021")
    except BadRequest as err:
        if any(remedy.setting == "regions" for remedy in err.remedies):
            raise
        names = ", ".join(region.name for region in regions)
        raise BadRequest(
            f"Its masks are of {names}, and which labels of the truth (it holds {', '.join(map(str, sorted(values)))}) "
            "those are is not known: name a data set that has them, or one channel and its labels.",
            Remedy("regions"),
            Remedy("channel"),
        ) from err


def labels_of(masks: Iterable[Path]) -> set[int]:
    """All labels above 0 in masks; one that cannot be read is left to who measures it."""
    there = set[int]()
    for path in masks:
        try:
            there |= {int(label) for label in np.unique(read_mask(path).data) if label > 0}
        except DiffsegError:
            continue
    return there
