"""The folder a run leaves: members as they finish, the maps at the end, and what is needed to make it all again."""

from __future__ import annotations

import logging
import os
import time
from dataclasses import dataclass, replace
from itertools import count, takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_diffseg.ensemble.ensemble import Ensemble
from napari_diffseg.ensemble.summary import Summary
from napari_diffseg.errors import BadCase, BadImage, BadRequest, OutputExists, OutputFailed, Remedy
from napari_diffseg.imaging.folder_lock import is_taken, taken
from napari_diffseg.imaging.formats.nifti import read_mask
from napari_diffseg.imaging.names.naming import shown_name
from napari_diffseg.regions import label_names, with_values_of
from napari_diffseg.runs.expected_file import read_expected, read_refined, refine_in_case
from napari_diffseg.runs.identity import are_other_images, difference, identity_of
from napari_diffseg.runs.layout import RECORD, RunFiles
from napari_diffseg.runs.parts import parts_of
from napari_diffseg.runs.record import RunRecord, read_record
from napari_diffseg.runs.result_names import LABEL_MAP, MAPS, channel_tails
from napari_diffseg.runs.run_writer import RunWriter, smoothed_by

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from napari_diffseg.ensemble.expected import ExpectedMask
    from napari_diffseg.events import SegmentRequest, Started
    from napari_diffseg.imaging.case import Case
    from napari_diffseg.regions import Region
    from napari_diffseg.runs.identity import DescribedCheckpoint

logger = logging.getLogger(__name__)

_PACKAGES = ("napari-diffseg", "torch", "numpy", "nibabel", "scipy")


@dataclass(eq=False)
class RunFolder:
    """One case's results on disk; a member is written, whole, before anybody hears that it is finished.

    ```
    FOLDER/mask.nii.gz  mean.nii.gz  uncertainty.nii.gz  run.json  members/member-001.nii.gz ...
    ```

    Mean and uncertainty are the members' own mean and unbiased variance. The mask is by the checkpoint's rule. Where
    its recipe smooths, `probability.nii.gz` is the smoothed probability. With checkpoints that predict x_0 or v,
    `expected.nii.gz` is the one-step estimate: the probability of each voxel after one evaluation; where the recipe has
    `refine_by`, `refined.nii.gz` is the same, refined by the brightness of an image. With several mask channels each
    file has the channel in its name, as in `mask_tumour-core.nii.gz`, and `label-map.nii.gz` has all masks in one.
    Member number k (from 0) is `member-{k + 1:03d}`. `run.json` says `running` from the first moment and `complete` at
    the very end, so a run that was cut short is recognised and can be resumed.

    Parameters
    ----------
    folder : Path
        Made when the first file is written.
    case, checkpoint, request :
        What the run is made of; they go into `run.json`.
    label_values : str, optional
        Whose values the label map has, see `with_values_of`; by default the checkpoint's own.
    """

    folder: Path
    case: Case
    checkpoint: DescribedCheckpoint
    request: SegmentRequest
    label_values: str | None = None

    def __post_init__(self) -> None:
        self.folder = Path(self.folder)

    def check(self, *, overwrite: bool = False) -> None:
        """Refuse early what would fail late: results that are there, a place that cannot be written.

        Raises
        ------
        OutputExists
            If the folder holds results and overwriting was not asked for.
        OutputFailed
            If the folder is a file, or its nearest existing parent cannot be written to.
        BadRequest
            If the case's own images lie in the folder, or results of other images, or a run is going on there; or if
            the regions cannot have the label values that are asked for.
        """
        assert self.regions is not None  # values that cannot be are refused before anything is sampled
        self._check_apart()
        if _exists(self.folder) and not self.folder.is_dir():
            raise OutputFailed(f"{self.folder} is a file, not a folder: choose another place for the results.")
        if is_taken(self.folder):
            raise taken(self.folder, what="run")
        self.check_results(overwrite=overwrite)
        _check_writable(self.folder)

    def check_results(self, *, overwrite: bool = False) -> None:
        """Refuse results that are there unless they may be replaced, and those of other images always.

        Raises
        ------
        OutputExists
            If the folder holds results and overwriting was not asked for.
        BadRequest
            If they are of other images.
        """
        if not overwrite and (found := self._own_files()):
            state = "an unfinished run" if self.status() == "running" else "results"
            raise OutputExists(
                f"{self.folder} holds {state} ({found[0].name}): choose another place, or "
                f"{'go on with it, or ' if state == 'an unfinished run' else ''}allow overwriting.",
                *([Remedy("resume")] if state == "an unfinished run" else []),
                Remedy("overwrite"),
            )
        self._check_other_images()

    def _check_other_images(self) -> None:
        record = self._record()
        if record is None:
            return
        mine = {name: volume.digest for name, volume in self.case.volumes.items()}
        if are_other_images(mine, record.inputs):
            raise BadRequest(
                f"{self.folder} holds a run of other images (case {shown_name(record.case)}), which {self.case.id} "
                "would replace: give another place, or delete what is there.",
                Remedy("out"),
            )

    def has_results(self) -> bool:
        """Whether files of a run, finished or not, are here."""
        return bool(self._own_files())

    def is_complete(self) -> bool:
        """Whether all members of this request are here, more perhaps, and their maps, made by the checkpoint's rule.

        Raises
        ------
        BadRequest
            If the run here was made with another checkpoint, other images or other settings.
        """
        if self.status() != "complete":
            return False
        self.check_same_run()
        is_summed_up = self._is_summed_up(self.record())
        return is_summed_up and len(self.finished_members()) == self.request.members

    def _is_summed_up(self, record: RunRecord) -> bool:
        """Whether maps are what this checkpoint's would be; those of before there were rules may be of another mean."""
        summary = self.summary
        if self.label_map is not None and record.label_map != self.label_words:
            return False
        if record.smoothing_mm != summary.smoothing_mm or record.own_rule != summary.rule_word:
            return False
        if summary.smoothing_mm and record.smoothing_slices != self.checkpoint.recipe.smoothing_slices:
            return False
        by = smoothed_by(has_expected=self.has_expected(), refined_by=self._refine_by)
        return not summary.smoothing_mm or (not record.has_smoothed_mean and record.smoothed_by == by)

    def status(self) -> str | None:
        """What `run.json` says of the run: 'running', 'complete', or None where there is no readable one."""
        record = self._record()
        return None if record is None else record.status

    def begin(self, started: Started) -> RunWriter:
        """Remove results of an earlier run; what writes the new one, whose record says 'running'."""
        for old in self._own_files():
            _remove(old)
        return RunWriter(self, started, Ensemble.for_run(started))

    def resume(self, started: Started) -> RunWriter:
        """Take up an unfinished or smaller run of the same settings; its ensemble holds the whole members.

        Raises
        ------
        BadRequest
            If the folder's run was made with another checkpoint, other images or other settings, or a member or the
            one-step estimate in it is damaged.
        """
        self.check_same_run()
        record = self.record()
        started = _with_members_before(started, record)
        has_estimate = _are_there(self.paths("expected"))
        if not has_estimate or record.refined_by != started.refined_by:
            self._remove_refined()
        ensemble = Ensemble.for_run(started)
        for k in self.finished_members():
            ensemble.add(k, started.slices, self._read_member(k, started))
        if has_estimate:
            ensemble.expected = self._read_expected(started)
        return RunWriter(self, started, ensemble, earlier=parts_of(record, ensemble.members))

    def finished_members(self) -> tuple[int, ...]:
        """Numbers of the members on disk from the request's first on, without a gap."""
        return tuple(takewhile(self.holds_member, self.request.member_numbers))

    def with_all_there(self) -> RunFolder:
        """The same folder, for as many members as are here where the request asks for fewer."""
        there = sum(1 for _ in takewhile(self.holds_member, count(self.request.first_member)))
        if there <= self.request.members:
            return self
        return replace(self, request=self.request.model_copy(update={"members": there}))

    def holds_member(self, number: int) -> bool:
        """Whether the member, counted from 0, is on disk in every mask channel."""
        return _are_there(self.paths("member", number=number))

    def has_expected(self) -> bool:
        """Whether the one-step estimate is on disk in every mask channel, and refined where it is to be."""
        maps = ("expected", "refined") if self._refine_by else ("expected",)
        return all(_are_there(self.paths(what)) for what in maps)

    @property
    def _refine_by(self) -> str:
        """The modality by which the estimate is to be refined: the checkpoint's, if the case has it; empty if none."""
        wanted = self.checkpoint.recipe.refine_by
        return wanted if wanted is not None and wanted in self.case.volumes else ""

    @property
    def summary(self) -> Summary:
        """How the run's own maps are made."""
        return Summary().of_run(self.checkpoint.recipe)

    def paths(self, stem: str, *, number: int | None = None) -> list[Path]:
        """Where a map, or a member by its number from 0, is or will be: one file for each mask channel."""
        tails = channel_tails(self.checkpoint.recipe.labels)
        return [self.files.map(stem, tail) if number is None else self.files.member(number, tail) for tail in tails]

    @property
    def files(self) -> RunFiles:
        """The names of its files."""
        return RunFiles(self.folder)

    @property
    def regions(self) -> tuple[Region, ...]:
        """What the mask channels are, with the values that they have in the run's label map."""
        return with_values_of(self.checkpoint.recipe.regions, self.label_values)

    @property
    def label_words(self) -> dict[str, str]:
        """What each value of the run's label map means."""
        return {str(value): name for value, name in label_names(self.regions).items()}

    @property
    def label_map(self) -> Path | None:
        """Where all regions are, or will be, in one label map; None of one mask channel whose value nobody chose."""
        is_wanted = len(self.checkpoint.recipe.labels) > 1 or self.label_values is not None
        return self.files.map(LABEL_MAP) if is_wanted else None

    def _own_files(self) -> list[Path]:
        """Files of an earlier run here, `run.json` first; what people keep beside them is not among them."""
        files, record = self.files, self._record()
        old = files.member_tails() if record is None else channel_tails(record.recipe.labels)
        tails = dict.fromkeys((*channel_tails(self.checkpoint.recipe.labels), *old))
        paths = [files.record, files.map(LABEL_MAP), *(files.map(what, tail) for what in MAPS for tail in tails)]
        paths += [path for tail in tails for path in files.members(tail).values()]
        return [path for path in paths if os.path.lexists(path)]

    def _check_apart(self) -> None:
        """Beside the images, a result would be taken for the case's own mask, and might replace it."""
        here = os.path.realpath(self.folder)
        volumes = (*self.case.volumes.values(), self.case.reference)
        for path in (v.path for v in volumes if v is not None and v.path is not None):
            if os.path.realpath(path.parent) == here:
                raise BadRequest(
                    f"{self.folder} is the folder of the case's own images ({shown_name(path)}): "
                    "choose another place for the results."
                )

    def _read_member(self, number: int, started: Started) -> npt.NDArray[np.bool_]:
        volumes = [_read_own(p, started.source_shape) for p in self.paths("member", number=number)]
        slabs = [np.moveaxis(v, started.slice_axis, 0)[list(started.slices)] for v in volumes]
        return np.stack(slabs)

    def _remove_refined(self) -> None:
        """Of an estimate that is gone, was refined by another image, or is no longer to be, nothing stays."""
        for path in filter(os.path.lexists, self.paths("refined")):
            _remove(path)

    def _read_expected(self, started: Started) -> ExpectedMask:
        try:
            expected = read_expected(self.paths("expected"), started)
        except BadImage as err:
            path = self.paths("expected")[0]
            raise BadRequest(
                f"{path} cannot be taken over ({err}) Delete it, and resuming goes on without it."
            ) from err
        if started.refined_by:
            self._refine(expected)
        return expected

    def _refine(self, expected: ExpectedMask) -> None:
        """As it was refined; anew where that is damaged or not there, as of a checkpoint that did not ask for it."""
        try:
            read_refined(self.paths("refined"), expected)
        except BadImage:
            self._remove_refined()
            refine_in_case(expected, self.case, self.checkpoint.recipe)

    def record(self) -> RunRecord:
        """What the run here says of itself.

        Raises
        ------
        BadCase
            If there is none that can be read.
        """
        return read_record(self.folder)

    def _record(self) -> RunRecord | None:
        try:
            return self.record()
        except BadCase:
            return None

    def check_same_run(self) -> None:
        """Refuse to add to what is not there, or was made of something else.

        Raises
        ------
        BadRequest
            If the folder's run was made with another checkpoint, other images or other settings, or there is none.
        """
        record = self._record()
        if record is None:
            raise BadRequest(
                f"{self.folder} holds no readable {RECORD}: nothing can be resumed there, only overwritten.",
                Remedy("overwrite"),
            )
        if other := difference(self.identity(), record.as_json()):
            raise BadRequest(
                f"{self.folder} was made with {other}: resume with the same, or allow overwriting.", Remedy("overwrite")
            )

    def identity(self) -> dict[str, Any]:
        """What decides the members of this run, see `identity_of`."""
        return identity_of(self.case, self.checkpoint, self.request)


def _with_members_before(started: Started, record: RunRecord) -> Started:
    """The event that a run goes on with, which knows of members of the second plane that are there already, too."""
    return replace(
        started,
        members_across=tuple(sorted({*record.members_across, *started.members_across})),
        plane_across=started.plane_across or record.plane_across,
        slices_across=started.slices_across or record.slices_across,
    )


def _are_there(paths: Sequence[Path]) -> bool:
    return all(path.exists() for path in paths)


def _check_writable(folder: Path) -> None:
    """Make and remove a file in the folder, or in its nearest parent that exists."""
    place = next(p for p in (folder, *folder.absolute().parents) if os.path.isdir(p))
    probe = place / f".napari-diffseg-{time.monotonic_ns()}.part"
    try:
        probe.touch(exist_ok=False)
        probe.unlink()
    except OSError as err:
        raise OutputFailed(f"{place} cannot be written to: {err.strerror}: choose another place.") from err


def _exists(folder: Path) -> bool:
    try:
        os.stat(folder)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as err:
        raise OutputFailed(f"{folder} cannot be used: {err.strerror}: choose another place.") from err
    return True


def _remove(path: Path) -> None:
    try:
        path.unlink()
    except OSError as err:
        raise OutputFailed(f"{path} cannot be replaced: {err.strerror}: choose another place.") from err


def _read_own(path: Path, shape: tuple[int, int, int]) -> npt.NDArray[np.bool_]:
    """A member that an earlier run wrote, (X, Y, Z)."""
    try:
        mask = read_mask(path).data
    except BadImage as err:
        raise BadRequest(f"{path} cannot be taken over ({err}) Delete it, and resuming samples it again.") from err
    if mask.shape != shape:
        raise BadRequest(
            f"{path} is {mask.shape} voxels, but the case is {shape}: delete it, and resuming samples it again."
        )
    return mask.astype(np.bool_)
