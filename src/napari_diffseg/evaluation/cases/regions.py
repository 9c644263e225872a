"""Which regions of a case are measured, and which labels of the prediction and of the truth each is made of."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from napari_diffseg.errors import BadCase, BadRequest, DiffsegError, Remedy
from napari_diffseg.imaging.dataset_json import label_names
from napari_diffseg.imaging.formats.nifti import read_mask
from napari_diffseg.regions import (
    CONVENTIONS,
    NNUNET,
    Region,
    brats_convention,
    convention_named,
    labelled_by,
    part_named,
    regions_described,
    with_values_of,
)
from napari_diffseg.runs.result_names import channel_tails

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from napari_diffseg.evaluation.cases.prediction_files import PredictionFiles

BRATS: Final = "brats"
"""Word for the year of BraTS that the labels tell."""
_CHANNEL: Final = Remedy("channel")


class LabelSources(Protocol):
    """Which labels above 0 occur in any case."""

    @property
    def labels(self) -> Collection[int]:
        """Those of the truth."""
        ...

    @property
    def predicted_labels(self) -> Collection[int]:
        """Those of label maps that other programs wrote."""
        ...


@dataclass(frozen=True, slots=True)
class MeasuredRegion:
    """One mask of a case that is held against the truth.

    Attributes
    ----------
    name : str
        Of the region; empty where nothing is known of regions.
    channel : str or None
        Which of several masks, as it stands in files' names.
    labels : tuple of int or None
        Labels of the truth that count; all above 0 by default.
    prediction_labels : tuple of int or None
        Those of the prediction's mask, likewise.
    is_one_of_several : bool
        Whether other regions of the case are measured, too, so that the report has to tell them apart.
    """

    name: str = ""
    channel: str | None = None
    labels: tuple[int, ...] | None = None
    prediction_labels: tuple[int, ...] | None = None
    is_one_of_several: bool = False


def regions_of_run(files: PredictionFiles) -> tuple[Region, ...]:
    """The regions of a run, as its record tells them; none of other predictions."""
    try:
        record = files.record()
    except BadCase:
        return ()
    return () if record is None else record.recipe.regions


def measured_of_run(regions: Sequence[Region], truth: Sequence[Region], channel: str | None) -> list[MeasuredRegion]:
    """All regions of a run, or the one that is named as in files' names, with their labels of the truth."""
    found = [
        MeasuredRegion(region.name, tail or None, drawn.values or None, is_one_of_several=len(regions) > 1)
        for region, tail, drawn in zip(regions, _tails(regions), truth, strict=True)
    ]
    # What is wrong with another name is said where the mask is read.
    return found if channel is None else _only(found, regions, channel) or [MeasuredRegion(channel=channel)]


def measured_of_label_map(
    asked: str, prediction: str | None, sources: LabelSources, *, beside: Path, channel: str | None = None
) -> list[MeasuredRegion]:
    """The regions of label maps that another program wrote.

    Parameters
    ----------
    asked : str
        Whose label values the truth has, as `truth_regions` takes it.
    prediction : str, optional
        The same for the predictions. By default a `dataset.json` beside them says it, else they are as the truth's.
    sources : LabelSources
        Which labels occur.
    beside : Path
        Folder of the predictions.
    channel : str, optional
        One region, called as in the names of files: `tumour-core`.

    Raises
    ------
    BadRequest
        If the labels do not tell, or there is no such region.
    """
    drawn = truth_regions(asked, CONVENTIONS["brats2021"], sources.labels)
    said = regions_described(label_names(beside)) if prediction is None else None
    if said is not None:
        predicted: Sequence[Region] = with_names_of(said, drawn)
    else:
        predicted = drawn if prediction is None else _predicted_regions(prediction, drawn, sources)
    found = [
        MeasuredRegion(region.name, None, region.values, ours.values, is_one_of_several=True)
        for region, ours in zip(drawn, predicted, strict=True)
    ]
    if channel is None:
        return found
    if not (named := _only(found, drawn, channel)):
        known = ", ".join(_tails(drawn))
        raise BadRequest(f"Label maps have no region {channel}, but {known}: name one of them, or none.", _CHANNEL)
    return named


def _predicted_regions(asked: str, regions: Sequence[Region], sources: LabelSources) -> tuple[Region, ...]:
    if asked.strip().lower() != BRATS:
        return with_values_of(regions, asked)
    try:
        return with_values_of(regions, brats_convention(sources.predicted_labels) or "brats2021")
    except BadRequest as err:
        raise BadRequest(f"Of the predictions: {err}", Remedy("prediction_regions", "brats2021")) from err


def _tails(regions: Sequence[Region]) -> list[str]:
    """What the regions are called in the names of files; nothing for a single one."""
    return [tail.removeprefix("_") for tail in channel_tails([region.name for region in regions])]


def _only(found: Sequence[MeasuredRegion], regions: Sequence[Region], channel: str) -> list[MeasuredRegion]:
    """The region that is called so, alone; nothing where none is."""
    return [
        replace(one, is_one_of_several=False)
        for one, tail in zip(found, _tails(regions), strict=True)
        if channel == tail
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
    if asked is not None and asked.strip().lower() != BRATS:
        return _as_asked(asked, regions, values)
    own = {value for region in regions for value in region.values}
    if set(values) == {1} and sum(1 in region.values for region in regions) != 1:
        raise BadRequest(
            "The truth holds label 1 alone, which says nothing of regions: name the mask that it is of.", _CHANNEL
        )
    if asked is None and own and set(values) <= own:
        return tuple(regions)
    try:
        return labelled_by(regions, brats_convention(values) or "brats2021", setting="label_values")
    except BadRequest as err:
        if any(remedy.setting == "regions" for remedy in err.remedies):
            raise
        names = ", ".join(region.name for region in regions)
        raise BadRequest(
            f"Its masks are of {names}, and which labels of the truth (it holds {', '.join(map(str, sorted(values)))}) "
            "those are is not known: name a data set that has them, or one channel and its labels.",
            Remedy("regions"),
            _CHANNEL,
        ) from err


def _as_asked(asked: str, regions: Sequence[Region], values: Collection[int]) -> tuple[Region, ...]:
    """The regions by the labels of one data set, which has all that occur."""
    if asked.strip().lower() == NNUNET:
        word, named = NNUNET, with_values_of(regions, NNUNET)
        known = {value for region in named for value in region.values}
    else:
        word = convention_named(asked)
        named = labelled_by(regions, word, setting="regions")
        known = {value for region in CONVENTIONS[word] for value in region.values}
    if strange := sorted(set(values) - known):
        raise BadRequest(
            f"The truth holds label {strange[0]}, which {word} does not have: name another year or data set.",
            Remedy("regions"),
        )
    return named


def truth_of_one(region: Region, values: Collection[int]) -> Region:
    """A run's only region by its labels in the truth; without any where all above 0 count.

    So it is where the truth has one label alone, and where the region is the whole tumour or no part of a tumour.

    Parameters
    ----------
    region : Region
        With the values of its own training, where these are known.
    values : collection of int
        All labels above 0 that occur in the truth of any case.

    Raises
    ------
    BadRequest
        If the labels do not tell which of them are that part of a tumour.
    """
    if len(set(values)) > 1 and part_named(region.name) not in (None, "whole"):
        return truth_regions(None, [region], values)[0]
    return Region(name=region.name)


def regions_drawn(regions: Sequence[Region], values: Collection[int]) -> tuple[Region, ...]:
    """The regions of a run by the labels that they have in one reference: see `truth_of_one`, or `truth_regions`.

    Raises
    ------
    BadRequest
        If the labels do not tell.
    """
    return (truth_of_one(regions[0], values),) if len(regions) == 1 else truth_regions(None, regions, values)


def labels_of(masks: Iterable[Path]) -> set[int]:
    """All labels above 0 in masks; one that cannot be read is left to who measures it."""
    there = set[int]()
    for path in masks:
        try:
            there |= labels_in(read_mask(path).data)
        except DiffsegError:
            continue
    return there


def labels_in(mask: npt.NDArray[Any]) -> set[int]:
    """All labels above 0 in a mask; what is 0, most of it, is not sorted."""
    return {int(label) for label in np.unique(mask[mask > 0])}
