"""What a run's page and pictures show, worked out from the run's own files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from napari_diffseg.appearance import EDITED_COLOR, Convention, region_colors
from napari_diffseg.ensemble.dice import dice
from napari_diffseg.ensemble.findings import measure, measure_edited
from napari_diffseg.ensemble.summary import Measure, mean_of
from napari_diffseg.ensemble.volumes import MM3_PER_ML, spread_of
from napari_diffseg.ensemble.window import inside_of
from napari_diffseg.errors import BadRequest, Remedy
from napari_diffseg.evaluation.cases.regions import labels_in, regions_drawn
from napari_diffseg.evaluation.report.upright import Upright, frame_of, unit_intensity
from napari_diffseg.imaging.geometry.regrid import LINEAR, NEAREST, regrid
from napari_diffseg.regions import masks_of_channels, part_named, split_label_map
from napari_diffseg.runs.export import mask_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from napari_diffseg.ensemble.findings import EditedFindings, Findings
    from napari_diffseg.ensemble.summary import Summary
    from napari_diffseg.ensemble.whole_members import WholeMembers
    from napari_diffseg.imaging.volume import Volume
    from napari_diffseg.runs.edited_mask import EditedMask, EditRecord
    from napari_diffseg.runs.record import RunRecord
    from napari_diffseg.runs.stored_run import StoredRun

Float = npt.NDArray[np.float32]
Bool = npt.NDArray[np.bool_]

MOST_SLICES: Final = 6
"""Slices that a page shows."""


@dataclass(frozen=True, eq=False)
class SliceView:
    """A slice to be shown; arrays are (rows, columns), turned as `Upright` says.

    Attributes
    ----------
    index : int
        The slice, in the source's own count.
    background : ndarray, float32
        The image in [0, 1]; the mean where there is no image.
    masks : ndarray, (labels, rows, columns), bool
        The consensus of each label.
    edited : ndarray, (labels, rows, columns), bool, or None
        The mask that was corrected by hand, where the report is of it.
    mean, uncertainty : ndarray, float32
        The share of the members, and the measure chosen.
    """

    index: int
    background: Float
    masks: Bool
    edited: Bool | None
    mean: Float
    uncertainty: Float


@dataclass(frozen=True, slots=True)
class LabelSizes:
    """Volumes of one label in ml, and how far its masks agree.

    Attributes
    ----------
    name : str
        The label.
    color : str
        Of its outline.
    by_members : (float, (float, float))
        Mean over the members, and where they lie, see `spread_of`.
    mask : float
        Of the mask.
    edited : float or None
        Of the corrected mask.
    dice_to_mask : float or None
        Dice of the corrected mask and the mask.
    dice_to_truth : float or None
        Dice of the corrected mask, or of the mask where none was corrected, with the ground truth, in what was sampled.
    """

    name: str
    color: str
    by_members: tuple[float, tuple[float, float]]
    mask: float
    edited: float | None = None
    dice_to_mask: float | None = None
    dice_to_truth: float | None = None


@dataclass(frozen=True, eq=False)
class Correction:
    """A mask that was corrected by hand, as it is shown: what is known of it, and what is measured of it."""

    record: EditRecord
    findings: EditedFindings


@dataclass(frozen=True, eq=False)
class Sheet:
    """A run as it is shown.

    Attributes
    ----------
    record : RunRecord
        What the run says of itself.
    summary : Summary
        How members become a mask, and what the uncertainty is.
    smoothing_mm : float
        Gaussian smoothing of the vote map, for the smoothed probability; 0 is off.
    findings : Findings
        Volumes, lesions, convergence of the members.
    labels : tuple of LabelSizes
        One for each label.
    correction : Correction or None
        Where the report is of a mask that was corrected by hand.
    largest : float
        The upper end of the uncertainty's colours, as in the panel.
    aspect : float
        Height of a pixel divided by its width.
    image : str
        Name of the image behind the masks; empty where there is none.
    convention : Convention
        On which side the patient's left is.
    sides : (str, str)
        The patient's sides at the left and the right of a slice, as `Upright.sides`.
    """

    record: RunRecord
    summary: Summary
    smoothing_mm: float
    findings: Findings
    labels: tuple[LabelSizes, ...]
    correction: Correction | None
    largest: float
    aspect: float
    image: str
    convention: Convention
    sides: tuple[str, str]
    _maps: _Maps

    @property
    def slices(self) -> tuple[int, ...]:
        """Source indices of the slices on which a member or the correction marks anything; else the middle one."""
        holds = np.flatnonzero(self._maps.area)
        return tuple(map(int, holds)) if holds.size else (self._maps.middle,)

    @property
    def telling(self) -> tuple[int, ...]:
        """At most `MOST_SLICES` of them, increasing: the largest mask, the most uncertain one, and some between."""
        maps, there = self._maps, self.slices
        if len(there) <= MOST_SLICES:
            return there
        first = {int(maps.area.argmax()), int(maps.doubt.argmax())}
        evenly = [there[round(k)] for k in np.linspace(0, len(there) - 1, MOST_SLICES + 2)[1:-1]]
        between = [s for s in evenly if s not in first][: MOST_SLICES - len(first)]
        return tuple(sorted({*first, *between}))

    def view(self, index: int) -> SliceView:
        """One slice, all of the brain in it."""
        maps = self._maps
        background = unit_intensity(maps.upright(maps.image, index))
        mean = maps.upright(maps.mean, index)
        masks = np.stack([maps.upright(mask, index) for mask in maps.masks])
        edited = None if maps.edited is None else np.stack([maps.upright(mask, index) for mask in maps.edited])
        marked = masks.any(axis=0) if edited is None else masks.any(axis=0) | edited.any(axis=0)
        box = frame_of((background > 0) | marked | (mean > 0))
        within = (slice(None), *box)
        return SliceView(
            index,
            background[box],
            masks[within],
            None if edited is None else edited[within],
            mean[box],
            maps.upright(maps.uncertainty, index)[box],
        )


@dataclass(frozen=True, eq=False)
class _Maps:
    """Volumes (X, Y, Z), masks (labels, X, Y, Z), and, for each slice, what decides whether it is shown."""

    image: npt.NDArray[Any]
    masks: Bool
    edited: Bool | None
    mean: Float
    uncertainty: Float
    area: npt.NDArray[np.int64]
    doubt: Float
    middle: int
    upright: Upright


def make_sheet(
    run: StoredRun,
    *,
    summary: Summary,
    image: Volume | None = None,
    image_name: str = "",
    convention: Convention = Convention.RADIOLOGICAL,
    edited: EditedMask | None = None,
    truth: Volume | None = None,
    smallest_ml: float | None = None,
) -> Sheet:
    """Work out what is shown; of several mask channels, any of them counts as lesion, and each has its volume.

    Parameters
    ----------
    run : StoredRun
        With at least one whole member.
    summary : Summary
        How members become a mask, and what the uncertainty is.
    image : Volume, optional
        What is shown behind the masks; brought to the run's voxels where it lies on others.
    image_name : str
        What it is, for people.
    convention : Convention
        On which side the patient's left is shown.
    edited : EditedMask, optional
        A correction of the mask: volume, lesions, Dice and outlines are then of it.
    truth : Volume, optional
        Ground truth, as a label map of the run's regions, or a mask.
    smallest_ml : float, optional
        Volume from which a connected component is listed as a lesion, see `measure`.

    Raises
    ------
    BadRequest
        If the run has no whole member, or the labels of the ground truth do not tell its regions.
    """
    members = run.ensemble().whole_members()
    findings = measure(members, voxel_mm3=run.grid.voxel_mm3, smallest_ml=smallest_ml)
    votes: npt.NDArray[np.uint16] = np.sum([m.any(axis=0) for m in run.members.values()], axis=0, dtype=np.uint16)
    summary = summary.of_run(run.started)
    mean = mean_of(votes, len(run.members))
    asked = summary.measure is Measure.PROBABILITY
    probability = run.probability(votes[None], summary)[0] if asked else mean
    uncertainty = summary.uncertainty(votes, len(run.members), probability)
    corrected = None if edited is None else masks_of_channels(edited.mask, run.record.recipe.regions)
    maps = _Maps(
        image=mean if image is None else regrid(image.data.astype(np.float32), image, run.grid, order=LINEAR),
        masks=mask_of(run, summary),
        edited=corrected,
        mean=mean,
        uncertainty=uncertainty,
        area=_by_slice(votes > 0 if corrected is None else (votes > 0) | corrected.any(axis=0), run).astype(np.int64),
        doubt=_by_slice(uncertainty, run).astype(np.float32),
        middle=_middle(run.record.slices),
        upright=Upright(run.grid, run.record.slice_axis, convention),
    )
    return Sheet(
        record=run.record,
        summary=summary,
        smoothing_mm=summary.smoothing_mm or 0.0,
        findings=findings,
        labels=tuple(_sizes(run, maps, truth)),
        correction=None if edited is None else _correction(edited, members, run, smallest_ml),
        largest=summary.measure.largest,
        aspect=maps.upright.aspect,
        image="" if image is None else image_name,
        convention=convention,
        sides=maps.upright.sides,
        _maps=maps,
    )


def _by_slice(values: npt.NDArray[Any], run: StoredRun) -> npt.NDArray[Any]:
    """The sum over each slice."""
    return np.asarray(values.sum(axis=tuple(axis for axis in range(3) if axis != run.record.slice_axis)))


def _correction(edited: EditedMask, members: WholeMembers, run: StoredRun, smallest_ml: float | None) -> Correction:
    found = measure_edited(edited.mask > 0, members, voxel_mm3=run.grid.voxel_mm3, smallest_ml=smallest_ml)
    return Correction(edited.record, found)


def _sizes(run: StoredRun, maps: _Maps, truth: Volume | None) -> Iterator[LabelSizes]:
    ml, regions = run.grid.voxel_mm3 / MM3_PER_ML, run.record.recipe.regions
    true = None if truth is None else _true_masks(truth, run)
    colors = region_colors([part_named(name) for name in run.labels])
    for c, color in enumerate(colors):
        mask, edited = maps.masks[c], None if maps.edited is None else maps.edited[c]
        yield LabelSizes(
            name=regions[c].name,
            color=EDITED_COLOR if edited is not None and len(colors) == 1 else color,
            by_members=spread_of(np.array([member[c].sum() * ml for member in run.members.values()])),
            mask=float(mask.sum()) * ml,
            edited=None if edited is None else float(edited.sum()) * ml,
            dice_to_mask=None if edited is None else dice(edited, mask),
            dice_to_truth=None if true is None else dice(mask if edited is None else edited, true[c]),
        )


def _true_masks(truth: Volume, run: StoredRun) -> Bool:
    """The ground truth of each region where the run was asked for, by the labels that it has there."""
    moved = regrid(truth.data, truth, run.grid, order=NEAREST) * _asked_for(run)
    values = labels_in(truth.data)
    try:
        drawn = regions_drawn(run.record.recipe.regions, values)
    except BadRequest as err:
        raise BadRequest(
            f"Ground truth cannot be compared: its labels {', '.join(map(str, sorted(values)))} do not tell "
            f"{', '.join(run.labels)}: give one with the labels of the run's training, or of BraTS.",
            Remedy("truth"),
        ) from err
    return split_label_map(moved, drawn)


def _asked_for(run: StoredRun) -> Bool:
    """Voxels in the slices and the window of a run: elsewhere it marks nothing, and is not measured."""
    asked = np.zeros(run.grid.shape, np.bool_)
    np.moveaxis(asked, run.record.slice_axis, 0)[list(run.record.slices)] = True
    return np.asarray(asked & inside_of(run.started.window, run.grid.shape, run.record.slice_axis))


def _middle(slices: Sequence[int]) -> int:
    return int(slices[len(slices) // 2])
