"""A run read back from its folder: its record, its members, and the grid they lie on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_diffseg.ensemble.ensemble import Ensemble
from napari_diffseg.ensemble.smoothing import Smoothing
from napari_diffseg.ensemble.summary import Summary
from napari_diffseg.errors import BadCase, BadImage, BadRequest
from napari_diffseg.events import Sampled, Started, make_request
from napari_diffseg.imaging.formats.nifti import read_mask
from napari_diffseg.imaging.names.naming import shown_name
from napari_diffseg.runs.expected_file import read_expected
from napari_diffseg.runs.layout import RECORD, RunFiles, whole_members
from napari_diffseg.runs.record import read_record
from napari_diffseg.runs.result_names import channel_tails
from napari_diffseg.runs.run_writer import smoothed_by

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from napari_diffseg.ensemble.expected import ExpectedMask
    from napari_diffseg.ensemble.smoothing import Votes
    from napari_diffseg.imaging.volume import Volume
    from napari_diffseg.runs.record import RunRecord

_SMOOTHED_MEAN = (
    "An earlier version made this run: its files mean and uncertainty are of the smoothed probability. What is shown "
    "and exported as mean and uncertainty is the members' own; resuming the run writes these files anew."
)
_OTHER_WEIGHT = (
    "An earlier version made this run: in its files the surroundings of a voxel have another weight in the smoothed "
    "probability. What is shown and exported of it, and of a mask by it, may differ a little from these files."
)


@dataclass(frozen=True, eq=False)
class StoredRun:
    """A run that lies in a folder, as `RunFolder` wrote it.

    Attributes
    ----------
    folder : Path
        Where it lies.
    record : RunRecord
        What it says of itself.
    grid : Volume
        A volume with the affine and header that its files have; its array is that of one member.
    members : mapping of int to ndarray, (labels, X, Y, Z), bool
        The whole members, by their number from 0, in the voxel order of the grid.
    expected : ExpectedMask or None
        The one-step estimate, where the run has it of every slice.
    notes : tuple of str
        What could not be read, in sentences.
    """

    folder: Path
    record: RunRecord
    grid: Volume
    members: dict[int, npt.NDArray[np.bool_]]
    expected: ExpectedMask | None = None
    notes: tuple[str, ...] = ()

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the mask channels."""
        return self.record.recipe.labels

    @property
    def is_complete(self) -> bool:
        """Whether the run came to its end."""
        return self.record.status == "complete"

    @cached_property
    def started(self) -> Started:
        """The event with which the run began, of the members that are there; nothing is left to evaluate."""
        r = self.record
        empty = set(r.slices_without_brain)
        return Started(
            run_id=f"stored {self.folder.name}",
            case_id=r.case,
            device=r.device,
            precision=r.precision,
            sampler=r.sampler,
            timesteps=r.timesteps or 1,
            members=tuple(self.members),
            slices=r.slices,
            sampled=tuple(s for s in r.slices if s not in empty),
            slice_axis=r.slice_axis,
            source_shape=self.grid.shape,
            labels=self.labels,
            evaluations=0,
            members_across=tuple(k for k in r.members_across if k in self.members),
            plane_across=r.plane_across,
            slices_across=r.slices_across,
            window=make_request({"window": r.request.get("window")}).window_in(self._plane),
            spacing_mm=self.grid.spacing_mm,
            refined_by=r.refined_by,
            smoothing_mm=r.smoothing_mm,
            smoothing_slices=r.smoothing_slices,
            rule=r.own_rule,
            label_values=tuple(region.values for region in r.recipe.regions),
        )

    @property
    def _plane(self) -> tuple[int, int]:
        height, width = (n for axis, n in enumerate(self.grid.shape) if axis != self.record.slice_axis)
        return height, width

    @cached_property
    def sampled(self) -> tuple[Sampled, ...]:
        """One event a member, as the run told them, each with all slices."""
        s = self.started
        rows = list(s.slices)
        return tuple(
            Sampled(s.run_id, k, s.slices, np.moveaxis(member, s.slice_axis + 1, 1)[:, rows])
            for k, member in self.members.items()
        )

    def ensemble(self) -> Ensemble:
        """The ensemble of all members that are there."""
        ensemble = Ensemble.for_run(self.started)
        if self.expected is not None:
            ensemble.expected = self.expected
        for event in self.sampled:
            ensemble.add(event.member, event.slices, event.mask)
        return ensemble

    def probability(self, votes: Votes, summary: Summary | None = None) -> npt.NDArray[np.float32]:
        """The smoothed probability, (labels, X, Y, Z), float32; by default as the run's own is.

        Parameters
        ----------
        votes : ndarray, (labels, X, Y, Z), int
            Of each label, or (1, X, Y, Z) of any of them.
        summary : Summary, optional
            How it is smoothed; with 0 mm the probability is the members' mean.
        """
        started, count, summary = self.started, len(self.members), summary or Summary()
        smoothing = Smoothing.of_run(started, summary.smoothing_mm, refined=summary.refined)
        return smoothing.on_volume(
            votes, count, slice_axis=started.slice_axis, slices=started.slices, expected=self.expected
        )


def find_runs(folder: Path) -> tuple[Path, ...]:
    """The folder itself, or, where it is none of a run, those in it that are: `predict` leaves one for each case.

    Reading the folder says what is wrong where there is neither.
    """
    is_run = RunFiles(folder).record.exists()
    inside = () if is_run else tuple(sorted(path.parent for path in folder.glob(f"*/{RECORD}")))
    return inside or (folder,)


def read_run(folder: Path | str, *, check_stop: Callable[[], None] = lambda: None) -> StoredRun:
    """Read a run's folder, finished or cut short; a member or one-step estimate that is damaged is left out and noted.

    Parameters
    ----------
    folder : Path
        As `napari-diffseg predict` and the panel leave it.
    check_stop : callable
        Called before each member is read; what it raises ends the reading.

    Raises
    ------
    BadCase
        If the folder holds no run, none that this version can read, or no whole member.
    """
    folder = Path(folder)
    record = read_record(folder)
    grid: Volume | None = None
    members: dict[int, npt.NDArray[np.bool_]] = {}
    notes: list[str] = []
    for number, paths in whole_members(RunFiles(folder), record.recipe.labels).items():
        check_stop()
        try:
            volumes = [read_mask(p) for p in paths]
            grid = grid or replace(volumes[0], path=None)
            members[number] = _member(volumes, grid, paths[0])
        except BadImage as err:
            notes.append(f"Member {number + 1} is left out: {err}")
    if grid is None or not members:
        raise BadCase(" ".join([f"{folder} holds a run without a whole member: run it again.", *notes]))
    if not 0 <= min(record.slices) <= max(record.slices) < grid.shape[record.slice_axis]:
        raise BadCase(f"{folder}: {RECORD} speaks of slices that its members do not have: choose another run.")
    run = StoredRun(folder, record, grid, members)
    _check_settings(run)
    check_stop()
    try:
        run = replace(run, expected=_expected(run))
    except BadImage as err:
        notes.append(f"The one-step estimate is left out, so the probability is of the members alone: {err}")
    if record.has_smoothed_mean:
        notes.append(_SMOOTHED_MEAN)
    elif record.smoothing_mm and record.smoothed_by not in _ways_of_today(record):
        notes.append(_OTHER_WEIGHT)
    return replace(run, notes=tuple(notes))


def _ways_of_today(record: RunRecord) -> tuple[str, ...]:
    """What a record says of its smoothed probability if this version made it."""
    return smoothed_by(has_expected=False), smoothed_by(has_expected=True, refined_by=record.refined_by)


def _check_settings(run: StoredRun) -> None:
    """Refuse now what would be refused in the middle of an export."""
    try:
        assert run.started  # worked out once, from the record
    except BadRequest as err:
        raise BadCase(f"{run.folder}: {RECORD} has settings that cannot be: {err}") from err


def _expected(run: StoredRun) -> ExpectedMask | None:
    tails = channel_tails(run.labels)
    paths, refined = ([RunFiles(run.folder).map(what, tail) for tail in tails] for what in ("expected", "refined"))
    if not all(p.exists() for p in paths):
        return None
    return read_expected(paths, run.started, refined if run.record.refined_by else ())


def count_members(folder: Path, record: RunRecord) -> int:
    """How many members of a run have their files, by their names alone."""
    return len(whole_members(RunFiles(folder), record.recipe.labels))


def _member(volumes: list[Volume], grid: Volume, path: Path) -> npt.NDArray[np.bool_]:
    if any(v.shape != grid.shape for v in volumes):
        raise BadImage(f"{shown_name(path)} has another shape than the members before it: delete it.")
    return np.stack([v.data.astype(np.bool_) for v in volumes])
