"""What writes a run into its folder: members as they finish, the maps and the record at the end."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from platform import python_version
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np

from napari_diffseg.ensemble.summary import MAJORITY, Rule
from napari_diffseg.errors import BadCase, OutputFailed
from napari_diffseg.imaging.atomic import make_folder, write_json
from napari_diffseg.imaging.names.naming import shown_name
from napari_diffseg.imaging.save import write_nifti
from napari_diffseg.regions import compose_label_map
from napari_diffseg.runs.layout import RECORD
from napari_diffseg.runs.map_words import describe_map
from napari_diffseg.runs.parts import Part, unclaimed
from napari_diffseg.runs.record import FORMAT, RunRecord
from napari_diffseg.runs.result_names import LABEL_MAP, MAPS

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from napari_diffseg.ensemble.ensemble import Ensemble
    from napari_diffseg.ensemble.expected import ExpectedMask
    from napari_diffseg.events import Expected, Finished, Refined, Sampled, Started
    from napari_diffseg.runs.run_folder import RunFolder

logger = logging.getLogger(__name__)

_PACKAGES = ("napari-diffseg", "torch", "numpy", "nibabel", "scipy")


@dataclass(eq=False)
class RunWriter:
    """A run that goes on in a folder. It writes as long as the folder's record is its own.

    Parameters
    ----------
    run : RunFolder
        Where, and of what.
    started : Started
        The event with which it began; of one that is taken up, with what its record says of members that are there.
    ensemble : Ensemble
        With the members that are on disk already; it grows with the run.
    earlier : tuple of Part
        The parts that were made before this one.

    Raises
    ------
    OutputFailed
        If the folder cannot be made or written to.
    """

    run: RunFolder
    started: Started
    ensemble: Ensemble
    earlier: tuple[Part, ...] = ()
    _began: str = field(init=False, repr=False)
    _clock: float = field(init=False, repr=False)
    _owner: str = field(init=False, repr=False)
    _stamps: dict[Path, tuple[int, ...]] = field(init=False, repr=False)
    """Of the files that were written or taken over, to see whether somebody has changed them since."""

    def __post_init__(self) -> None:
        self._began, self._clock = datetime.now(UTC).isoformat(timespec="seconds"), time.monotonic()
        self._owner = uuid4().hex
        members = [self.run.paths("member", number=k) for k in self.ensemble.members]
        self._stamps = {path: _stamp(path) for paths in members for path in paths}
        make_folder(self.run.files.member_folder)
        self._write_record(self.ensemble, None, across=self.started.members_across)

    def is_mine(self) -> bool:
        """Whether the folder is still that of this run."""
        try:
            return self.run.record().owner == self._owner
        except BadCase:
            return False

    def keep(self, event: Sampled) -> None:
        """Add what was sampled, and write the member if it is whole now."""
        self.ensemble.add(event.member, event.slices, event.mask)
        if self.ensemble.is_complete(event.member):
            self._write("member", self.ensemble.member(event.member), number=event.member)

    def keep_expected(self, event: Expected | Refined) -> None:
        """Give the ensemble its one-step estimate, and write it once it is whole; that of an earlier part stays."""
        self.ensemble.take(event)
        expected = self.ensemble.expected
        if expected is not None and expected.is_final and not self.run.has_expected():
            self._write_expected(expected)

    def _write_expected(self, expected: ExpectedMask) -> None:
        """The estimate last: where it is, as it was refined is there, too."""
        if (refined := expected.refined()) is not None:
            self._write("refined", refined)
        self._write("expected", expected.probability())

    def finish(self, finished: Finished | None) -> None:
        """Write the maps of the whole members and `run.json`, which stays 'running' without `finished`.

        The uncertainty of fewer than two members does not exist and is not written, nor is a probability that was not
        smoothed, which is the mean.

        Raises
        ------
        OutputFailed
            If the place is full or cannot be written, or another run has taken the folder; files that are complete
            stay.
        """
        self._check_mine()
        ensemble = self.ensemble.whole()
        self._write_lost(ensemble)
        if ensemble.count:
            self._write_maps(ensemble)
        across = tuple(k for k in self.started.members_across if k in ensemble.members)
        self._write_record(ensemble, finished, across=across)

    def _write_maps(self, ensemble: Ensemble) -> None:
        mask: npt.NDArray[Any] = ensemble.consensus()
        if ensemble.smoothing.is_none:
            for stale in self.run.paths("probability"):
                stale.unlink(missing_ok=True)
        else:
            probability = ensemble.probability()
            self._write("probability", probability, count=ensemble.count)
            if self.run.summary.rule is Rule.PROBABILITY:
                mask = probability > MAJORITY
        self._write("mask", mask, count=ensemble.count)
        self._write_label_map(mask.astype(np.bool_), ensemble.count)
        self._write("mean", ensemble.mean(), count=ensemble.count)
        if ensemble.count >= 2:
            self._write("uncertainty", ensemble.variance(), count=ensemble.count)

    def _write(self, stem: str, maps: npt.NDArray[Any], *, number: int | None = None, count: int = 1) -> None:
        self._check_mine()
        words = describe_map(stem, self.run.summary, count, number=number)
        for path, array in zip(self.run.paths(stem, number=number), maps, strict=True):
            write_nifti(path, array, self.run.case.grid_volume, overwrite=True, description=words)
            self._stamps[path] = _stamp(path)

    def _write_label_map(self, masks: npt.NDArray[np.bool_], count: int) -> None:
        path = self.run.label_map
        if path is None:
            return
        self._check_mine()
        words = describe_map(LABEL_MAP, self.run.summary, count)
        labels = compose_label_map(masks, self.run.regions)
        write_nifti(path, labels, self.run.case.grid_volume, overwrite=True, description=words)

    def _label_words(self) -> dict[str, str]:
        """What each value of the label map means; nothing where there is none."""
        path = self.run.label_map
        return self.run.label_words if path is not None and path.exists() else {}

    def _write_lost(self, ensemble: Ensemble) -> None:
        """Write anew what somebody has deleted or changed since it was written: the record speaks of these files."""
        for k in ensemble.members:
            paths = self.run.paths("member", number=k)
            if any(_stamp(path) != self._stamps.get(path) for path in paths):
                logger.warning("Member %d was deleted or changed during the run and is written again.", k + 1)
                make_folder(self.run.files.member_folder)
                self._write("member", ensemble.member(k), number=k)
        if ensemble.expected is not None and not self.run.has_expected():
            self._write_expected(ensemble.expected)

    def _check_mine(self) -> None:
        """Write nothing into a folder that another run has taken over.

        Raises
        ------
        OutputFailed
            If its record is another run's, or gone.
        """
        if not self.is_mine():
            raise OutputFailed(
                f"{self.run.folder} is not this run's any more: another run has begun there, or its {RECORD} was "
                "removed. Nothing more is written: give each run a folder of its own."
            )

    def _write_record(self, ensemble: Ensemble, finished: Finished | None, *, across: tuple[int, ...]) -> None:
        run, s = self.run, self.started
        parts = (*self.earlier, self._present_part(ensemble, finished))
        values = {
            "format": FORMAT,
            "status": "running" if finished is None else "complete",
            "owner": self._owner,
            "case": run.case.id,
            **run.identity(),
            "checkpoint": {
                "file": shown_name(run.checkpoint.path),
                "guesses": list(run.checkpoint.guesses),
                "overrides": dict(run.checkpoint.overrides),
            },
            "files": {name: shown_name(v.path) if v.path else None for name, v in run.case.volumes.items()},
            "resampled": {name: v.resampled_to for name, v in run.case.volumes.items() if v.resampled_to is not None},
            "request": run.request.model_dump(mode="json"),
            "members": list(ensemble.members),
            "members_across": list(across),
            "plane_across": s.plane_across,
            "slices_across": list(s.slices_across),
            "seeds": "noise of member k on source slice i: napari_diffseg.diffusion.noise.member_seed(seed, k, i)",
            "slice_axis": s.slice_axis,
            "slices": list(s.slices),
            "slices_without_brain": sorted(set(s.slices) - set(s.sampled)),
            "uncertainty": "unbiased variance of the binary members",
            "rule": self.run.summary.rule_word,
            "maps": self._map_words(ensemble.count),
            "label_map": self._label_words(),
            "smoothing_mm": s.smoothing_mm,
            "smoothing_slices": s.smoothing_slices,
            "refined_by": s.refined_by,
            "smoothed_by": smoothed_by(has_expected=self.run.has_expected(), refined_by=s.refined_by),
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
        write_json(self.run.files.record, RunRecord.model_validate(values).as_json(), overwrite=True)

    def _map_words(self, count: int) -> dict[str, str]:
        """What the maps that are here hold, by the stem of their names."""
        here = [what for what in MAPS if all(path.exists() for path in self.run.paths(what))]
        return {what: describe_map(what, self.run.summary, count) for what in here}

    def _present_part(self, ensemble: Ensemble, finished: Finished | None) -> Part:
        return Part(
            began=self._began,
            seconds=round(time.monotonic() - self._clock, 3),
            members=unclaimed(ensemble.members, self.earlier),
            device=self.started.device,
            precision=self.started.precision,
            compiled=self.started.compiled,
            batch_size=finished.batch_size if finished is not None else None,
            unneeded=finished.unneeded if finished is not None else None,
            unneeded_empty=finished.unneeded_empty if finished is not None else None,
            versions=dict(self.started.versions)
            or {"python": python_version(), **{name: _version(name) for name in _PACKAGES}},
        )


def smoothed_by(*, has_expected: bool, refined_by: str = "") -> str:
    """What the Gaussian of the smoothed probability averages, and its weight beside K members."""
    expected = f"what the run expected{f', refined by {refined_by}' if refined_by else ''}"
    return f"{expected if has_expected else 'share of the members'}, c = min(2 K, 10)"


def _stamp(path: Path) -> tuple[int, ...]:
    """What tells that a file is still the one that was written; empty where there is none."""
    try:
        seen = path.stat()
    except OSError:
        return ()
    return seen.st_ino, seen.st_size, seen.st_mtime_ns


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
