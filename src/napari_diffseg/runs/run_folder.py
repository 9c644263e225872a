"""The folder a run leaves: members as they finish, the maps at the end, and what is needed to make it all again."""

from __future__ import annotations

import logging
import os
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from itertools import count, takewhile
from pathlib import Path
from platform import python_version
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np

from napari_diffseg.ensemble.ensemble import Ensemble
from napari_diffseg.ensemble.summary import MAJORITY, Rule, Summary
from napari_diffseg.errors import BadCase, BadImage, BadRequest, OutputExists, OutputFailed, Remedy
from napari_diffseg.imaging.alone import is_taken, taken
from napari_diffseg.imaging.atomic import make_folder, write_json
from napari_diffseg.imaging.naming import shown_name
from napari_diffseg.imaging.nifti import read_mask
from napari_diffseg.imaging.save import write_nifti
from napari_diffseg.runs.expected_file import read_expected
from napari_diffseg.runs.identity import are_other_images, difference, identity_of
from napari_diffseg.runs.layout import RECORD, RunFiles
from napari_diffseg.runs.map_words import describe_map
from napari_diffseg.runs.parts import Part, parts_of, unclaimed
from napari_diffseg.runs.record import FORMAT, RunRecord, read_record
from napari_diffseg.runs.result_names import MAPS, channel_tails

if TYPE_CHECKING:
    import numpy.typing as npt

    from napari_diffseg.checkpoint import Checkpoint
    from napari_diffseg.ensemble.expected import ExpectedMask
    from napari_diffseg.events import Expected, Finished, Sampled, SegmentRequest, Started
    from napari_diffseg.imaging.case import Case

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
    `expected.nii.gz` is the one-step estimate: the probability of each voxel after one evaluation. With several mask
    channels each file has the channel in its name, as in `mask_tumour-core.nii.gz`. Member number k (from 0) is
    `member-{k + 1:03d}`. `run.json` says `running` from the first moment and `complete` at the very end, so a run that
    was cut short is recognised and can be resumed.

    Parameters
    ----------
    folder : Path
        Made when the first file is written.
    case, checkpoint, request :
        What the run is made of; they go into `run.json`.
    """

    folder: Path
    case: Case
    checkpoint: Checkpoint
    request: SegmentRequest
    _started: Started | None = field(default=None, init=False, repr=False)
    _earlier: tuple[Part, ...] = field(default=(), init=False, repr=False)
    _began: str = field(default="", init=False, repr=False)
    _clock: float = field(default=0.0, init=False, repr=False)
    _owner: str = field(default="", init=False, repr=False)
    _stamps: dict[Path, tuple[int, ...]] = field(default_factory=dict, init=False, repr=False)

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
            If the case's own images lie in the folder, or results of other images, or a run is going on there.
        """
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

    def is_mine(self) -> bool:
        """Whether the run that was begun or taken up here is still the one that the folder is of."""
        record = self._record()
        return record is not None and bool(self._owner) and record.owner == self._owner

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
        summary = Summary().of_run(self.checkpoint.recipe)
        if record.smoothing_mm != summary.smoothing_mm or record.own_rule != summary.rule_word:
            return False
        by = _smoothed_by(has_expected=self._has_expected())
        return not summary.smoothing_mm or (not record.has_smoothed_mean and record.smoothed_by == by)

    def status(self) -> str | None:
        """What `run.json` says of the run: 'running', 'complete', or None where there is no readable one."""
        record = self._record()
        return None if record is None else record.status

    def begin(self, started: Started) -> Ensemble:
        """Remove results of an earlier run, write `run.json` with the status 'running'; the ensemble, still empty."""
        for old in self._own_files():
            _remove(old)
        ensemble = Ensemble.for_run(started)
        self._open(started, ensemble, earlier=())
        return ensemble

    def resume(self, started: Started) -> Ensemble:
        """Take up an unfinished or smaller run of the same settings; the ensemble holds its whole members.

        Raises
        ------
        BadRequest
            If the folder's run was made with another checkpoint, other images or other settings, or a member or the
            expected mask in it is damaged.
        """
        self.check_same_run()
        ensemble = Ensemble.for_run(started)
        for k in self.finished_members():
            ensemble.add(k, started.slices, self._read_member(k, started))
            self._stamps |= {path: _stamp(path) for path in self._paths("member", number=k)}
        if self._has_expected():
            ensemble.expected = self._read_expected(started)
        self._open(started, ensemble, earlier=parts_of(self.record(), ensemble.members))
        return ensemble

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
        return all(p.exists() for p in self._paths("member", number=number))

    def keep(self, event: Sampled, ensemble: Ensemble) -> None:
        """Write the event's member if `ensemble`, which has it already, holds it whole now."""
        if ensemble.is_complete(event.member):
            self._write("member", ensemble.member(event.member), number=event.member)

    def keep_expected(self, event: Expected, ensemble: Ensemble) -> None:
        """Give the ensemble its one-step estimate, and write it once it is complete; that of an earlier part stays."""
        ensemble.expect(event.slices, event.probability)
        expected = ensemble.expected
        if expected is not None and expected.is_complete and not self._has_expected():
            self._write("expected", expected.probability())

    def _has_expected(self) -> bool:
        return all(p.exists() for p in self._paths("expected"))

    def finish(self, finished: Finished | None, ensemble: Ensemble) -> None:
        """Write the maps of the whole members and `run.json`, which stays 'running' without `finished`.

        The uncertainty of fewer than two members does not exist and is not written, nor is a probability that was not
        smoothed, which is the mean.

        Raises
        ------
        OutputFailed
            If the place is full or cannot be written; files that are complete stay.
        """
        self._check_mine()
        ensemble = ensemble.whole()
        self._write_lost(ensemble)
        if ensemble.count:
            self._write_maps(ensemble)
        self._write_record("running" if finished is None else "complete", ensemble, finished)

    def _write_maps(self, ensemble: Ensemble) -> None:
        mask: npt.NDArray[Any] = ensemble.consensus()
        if ensemble.smoothing.is_none:
            for stale in self._paths("probability"):
                stale.unlink(missing_ok=True)
        else:
            probability = ensemble.probability()
            self._write("probability", probability, count=ensemble.count)
            if self._summary.rule is Rule.PROBABILITY:
                mask = probability > MAJORITY
        self._write("mask", mask, count=ensemble.count)
        self._write("mean", ensemble.mean(), count=ensemble.count)
        if ensemble.count >= 2:
            self._write("uncertainty", ensemble.variance(), count=ensemble.count)

    @property
    def _summary(self) -> Summary:
        """How the run's own maps are made."""
        return Summary().of_run(self.checkpoint.recipe)

    def _open(self, started: Started, ensemble: Ensemble, *, earlier: tuple[Part, ...]) -> None:
        self._started, self._clock, self._earlier = started, time.monotonic(), earlier
        self._began = datetime.now(UTC).isoformat(timespec="seconds")
        self._owner = uuid4().hex
        make_folder(self._files.member_folder)
        self._write_record("running", ensemble, None)

    def _paths(self, stem: str, *, number: int | None = None) -> list[Path]:
        tails = channel_tails(self.checkpoint.recipe.labels)
        return [self._files.map(stem, tail) if number is None else self._files.member(number, tail) for tail in tails]

    @property
    def _files(self) -> RunFiles:
        return RunFiles(self.folder)

    def _own_files(self) -> list[Path]:
        """Files of an earlier run here, `run.json` first; what people keep beside them is not among them."""
        files, record = self._files, self._record()
        old = files.member_tails() if record is None else channel_tails(record.recipe.labels)
        tails = dict.fromkeys((*channel_tails(self.checkpoint.recipe.labels), *old))
        paths = [files.record, *(files.map(what, tail) for what in MAPS for tail in tails)]
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

    def _write(self, stem: str, maps: npt.NDArray[Any], *, number: int | None = None, count: int = 1) -> None:
        self._check_mine()
        words = describe_map(stem, self._summary, count, number=number)
        for path, array in zip(self._paths(stem, number=number), maps, strict=True):
            write_nifti(path, array, self.case.grid_volume, overwrite=True, description=words)
            self._stamps[path] = _stamp(path)

    def _write_lost(self, ensemble: Ensemble) -> None:
        """Write anew what somebody has deleted or changed since it was written: the record speaks of these files."""
        for k in ensemble.members:
            paths = self._paths("member", number=k)
            if any(_stamp(path) != self._stamps.get(path) for path in paths):
                logger.warning("Member %d was deleted or changed during the run and is written again.", k + 1)
                make_folder(self._files.member_folder)
                self._write("member", ensemble.member(k), number=k)
        if ensemble.expected is not None and not self._has_expected():
            self._write("expected", ensemble.expected.probability())

    def _check_mine(self) -> None:
        """Write nothing into a folder that another run has taken over.

        Raises
        ------
        OutputFailed
            If its record is another run's, or gone.
        """
        if not self.is_mine():
            raise OutputFailed(
                f"{self.folder} is not this run's any more: another run has begun there, or its {RECORD} was removed. "
                "Nothing more is written: give each run a folder of its own."
            )

    def _read_member(self, number: int, started: Started) -> npt.NDArray[np.bool_]:
        volumes = [_read_own(p, started.source_shape) for p in self._paths("member", number=number)]
        slabs = [np.moveaxis(v, started.slice_axis, 0)[list(started.slices)] for v in volumes]
        return np.stack(slabs)

    def _read_expected(self, started: Started) -> ExpectedMask:
        try:
            return read_expected(self._paths("expected"), started)
        except BadImage as err:
            path = self._paths("expected")[0]
            raise BadRequest(
                f"{path} cannot be taken over ({err}) Delete it, and resuming goes on without it."
            ) from err

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
        if other := difference(self._identity(), record.as_json()):
            raise BadRequest(
                f"{self.folder} was made with {other}: resume with the same, or allow overwriting.", Remedy("overwrite")
            )

    def _identity(self) -> dict[str, Any]:
        return identity_of(self.case, self.checkpoint, self.request)

    def _write_record(self, status: str, ensemble: Ensemble, finished: Finished | None) -> None:
        assert self._started is not None  # begin() or resume() came first
        s = self._started
        parts = (*self._earlier, self._present_part(s, ensemble, finished))
        values = {
            "format": FORMAT,
            "status": status,
            "owner": self._owner,
            "case": self.case.id,
            **self._identity(),
            "checkpoint": {
                "file": shown_name(self.checkpoint.path),
                "guesses": list(self.checkpoint.guesses),
                "overrides": dict(self.checkpoint.overrides),
            },
            "files": {name: shown_name(v.path) if v.path else None for name, v in self.case.volumes.items()},
            "resampled": {name: v.resampled_to for name, v in self.case.volumes.items() if v.resampled_to is not None},
            "request": self.request.model_dump(mode="json"),
            "members": list(ensemble.members),
            "seeds": "noise of member k on source slice i: napari_diffseg.diffusion.noise.member_seed(seed, k, i)",
            "slice_axis": s.slice_axis,
            "slices": list(s.slices),
            "slices_without_brain": sorted(set(s.slices) - set(s.sampled)),
            "uncertainty": "unbiased variance of the binary members",
            "rule": self._summary.rule_word,
            "maps": self._map_words(ensemble.count),
            "smoothing_mm": s.smoothing_mm,
            "smoothed_by": _smoothed_by(has_expected=self._has_expected()),
            "device": s.device,
            "precision": s.precision,
            "sampler": s.sampler,
            "timesteps": s.timesteps,
            "batch_size": parts[-1].batch_size,
            "warnings": list(s.warnings),
            "versions": parts[-1].versions,
            "began": parts[0].began,
            "seconds": round(sum(part.seconds for part in parts), 3),
            "parts": [part.model_dump(mode="json") for part in parts],
        }
        write_json(self._files.record, RunRecord.model_validate(values).as_json(), overwrite=True)

    def _map_words(self, count: int) -> dict[str, str]:
        """What the maps that are here hold, by the stem of their names."""
        here = [what for what in MAPS if all(path.exists() for path in self._paths(what))]
        return {what: describe_map(what, self._summary, count) for what in here}

    def _present_part(self, started: Started, ensemble: Ensemble, finished: Finished | None) -> Part:
        return Part(
            began=self._began,
            seconds=round(time.monotonic() - self._clock, 3),
            members=unclaimed(ensemble.members, self._earlier),
            device=started.device,
            precision=started.precision,
            batch_size=finished.batch_size if finished is not None else None,
            unneeded=finished.unneeded if finished is not None else None,
            versions={"python": python_version(), **{name: _version(name) for name in _PACKAGES}},
        )


def _stamp(path: Path) -> tuple[int, ...]:
    """What tells that a file is still the one that was written; empty where there is none."""
    try:
        seen = path.stat()
    except OSError:
        return ()
    return seen.st_ino, seen.st_size, seen.st_mtime_ns


def _smoothed_by(*, has_expected: bool) -> str:
    """What the Gaussian of the smoothed probability averages; the words are those of runs of before."""
    return "what the run expected" if has_expected else "share of the members"


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


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
