"""What a run's page and pictures show, worked out from the run's own files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from napari_diffseg.appearance import Convention
from napari_diffseg.ensemble.consensus import consensus_of
from napari_diffseg.ensemble.findings import measure
from napari_diffseg.ensemble.summary import mean_of
from napari_diffseg.evaluation.report.upright import Upright, frame_of, unit_intensity
from napari_diffseg.imaging.geometry.regrid import LINEAR, regrid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_diffseg.ensemble.findings import Findings
    from napari_diffseg.ensemble.summary import Summary
    from napari_diffseg.imaging.volume import Volume
    from napari_diffseg.runs.record import RunRecord
    from napari_diffseg.runs.stored_run import StoredRun

Float = npt.NDArray[np.float32]

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
    mask : ndarray, bool
        The consensus.
    mean, uncertainty : ndarray, float32
        The share of the members, and the measure chosen.
    """

    index: int
    background: Float
    mask: npt.NDArray[np.bool_]
    mean: Float
    uncertainty: Float


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
        Volumes, lesions, convergence.
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
    largest: float
    aspect: float
    image: str
    convention: Convention
    sides: tuple[str, str]
    _maps: _Maps

    @property
    def slices(self) -> tuple[int, ...]:
        """Source indices of the slices on which any member marks anything; the middle one where none does."""
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
        mask, mean = maps.upright(maps.mask, index), maps.upright(maps.mean, index)
        box = frame_of((background > 0) | mask | (mean > 0))
        return SliceView(index, background[box], mask[box], mean[box], maps.upright(maps.uncertainty, index)[box])


@dataclass(frozen=True, eq=False)
class _Maps:
    """Volumes (X, Y, Z), and what of them decides which slices are shown; `area` and `doubt` are (slices,)."""

    image: npt.NDArray[Any]
    mask: npt.NDArray[np.bool_]
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
) -> Sheet:
    """Work out what is shown; of several mask channels, any of them counts as lesion.

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

    Raises
    ------
    BadRequest
        If the run has no whole member.
    """
    findings = measure(run.ensemble().whole_members(), voxel_mm3=run.grid.voxel_mm3)
    lesions = [np.asarray(member.any(axis=0)) for member in run.members.values()]
    votes: npt.NDArray[np.uint16] = np.sum(lesions, axis=0, dtype=np.uint16)
    count, axis = len(run.members), run.record.slice_axis
    others = tuple(a for a in range(3) if a != axis)
    summary = summary.of_run(run.started)
    mean = mean_of(votes, count)
    asked = summary.asks_for_probability
    probability = run.probability(votes[None], smoothing_mm=summary.smoothing_mm) if asked else mean[None]
    uncertainty = summary.uncertainty(votes, count, probability[0])
    shown = mean if image is None else regrid(image.data.astype(np.float32), image, run.grid, order=LINEAR)
    maps = _Maps(
        image=shown,
        mask=consensus_of(
            (lesion[None] for lesion in lesions),
            votes=votes[None],
            count=count,
            summary=summary,
            regions=(),
            probability=probability,
        )[0],
        mean=mean,
        uncertainty=uncertainty,
        area=np.asarray((votes > 0).sum(axis=others), np.int64),
        doubt=np.asarray(uncertainty.sum(axis=others), np.float32),
        middle=_middle(run.record.slices),
        upright=Upright(run.grid, axis, convention),
    )
    return Sheet(
        record=run.record,
        summary=summary,
        smoothing_mm=summary.smoothing_mm or 0.0,
        findings=findings,
        largest=summary.measure.largest,
        aspect=maps.upright.aspect,
        image="" if image is None else image_name,
        convention=convention,
        sides=maps.upright.sides,
        _maps=maps,
    )


def _middle(slices: Sequence[int]) -> int:
    return int(slices[len(slices) // 2])
