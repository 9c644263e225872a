"""The folder a run leaves: members as they finish, the maps at the end, and what is needed to make it all again."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from platform import python_version
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_diffseg.errors import BadRequest, OutputExists, OutputFailed
from napari_diffseg.imaging.atomic import write_json
from napari_diffseg.imaging.nifti import read_mask
from napari_diffseg.imaging.save import write_nifti
from napari_diffseg.segmenting.ensemble import Ensemble

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from napari_diffseg.checkpoint import Checkpoint
    from napari_diffseg.events import Finished, Sampled, SegmentRequest, Started
    from napari_diffseg.imaging.case import Case

logger = logging.getLogger(__name__)

FORMAT = 1
_PACKAGES = ("napari-diffseg", "torch", "numpy", "nibabel", "scipy")


@dataclass(eq=False)
class RunFolder:
    """One case's results on disk; a member is written, whole, before anybody hears that it is finished.

    ```
    FOLDER/mask.nii.gz  mean.nii.gz  uncertainty.nii.gz  run.json  members/member-001.nii.gz ...
    ```

    With several mask channels each file has the channel in its name, as in `mask_tumour-core.nii.gz`. Member number k
    (from 0) is `member-{k + 1:03d}`. `run.json` says `running` from the first moment and `complete` at the very end,
    so a run that was cut short is recognised and can be resumed.

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
    _began: str = field(default="", init=False, repr=False)
    _clock: float = field(default=0.0, init=False, repr=False)

    def check(self, *, overwrite: bool = False) -> None:
        """Refuse early what would fail late: results that are there, a place that cannot be written.

        Raises
        ------
        OutputExists
            If the folder holds results and overwriting was not asked for.
        OutputFailed
            If the folder is a file, or its nearest existing parent cannot be written to.
        """
        if self.folder.exists() and not self.folder.is_dir():
            raise OutputFailed(f"{self.folder} is a file, not a folder: choose another place for the results.")
        if not overwrite and (found := self._own_files()):
            state = "an unfinished run" if self.status() == "running" else "results"
            more = "--resume to finish it, or --overwrite" if state == "an unfinished run" else "--overwrite"
            raise OutputExists(f"{self.folder} holds {state} ({found[0].name}): give another place, or {more}.")
        _check_writable(self.folder)

    def status(self) -> str | None:
        """What `run.json` says of the run: 'running', 'complete', or None where there is no readable one."""
        record = self._record()
        return None if record is None else str(record.get("status"))

    def begin(self, started: Started) -> Ensemble:
        """Remove results of an earlier run, write `run.json` with the status 'running'; the ensemble, still empty."""
        for old in self._own_files():
            old.unlink()
        self._open(started)
        return Ensemble.for_run(started)

    def resume(self, started: Started) -> Ensemble:
        """Take up an unfinished or smaller run of the same settings; the ensemble holds its whole members.

        Raises
        ------
        BadRequest
            If the folder's run was made with another checkpoint, other images or other settings.
        """
        self._check_same_run(self._record())
        ensemble = Ensemble.for_run(started)
        for k in self.finished_members():
            ensemble.add(k, started.slices, self._read_member(k, started))
        self._open(started)
        return ensemble

    def finished_members(self) -> tuple[int, ...]:
        """Numbers of the members on disk from the request's first on, without a gap."""
        numbers = []
        for k in self.request.member_numbers:
            if not all(p.exists() for p in self._paths("members/member", number=k)):
                break
            numbers.append(k)
        return tuple(numbers)

    def keep(self, event: Sampled, ensemble: Ensemble) -> None:
        """Write the event's member if `ensemble`, which has it already, holds it whole now."""
        if ensemble.is_complete(event.member):
            self._write("members/member", ensemble.member(event.member), number=event.member)

    def finish(self, finished: Finished | None, ensemble: Ensemble) -> None:
        """Write the maps of the whole members and `run.json`, which stays 'running' without `finished`.

        The uncertainty of fewer than two members does not exist and is not written.

        Raises
        ------
        OutputFailed
            If the place is full or cannot be written; files that are complete stay.
        """
        ensemble = ensemble.whole()
        if ensemble.count:
            self._write("mask", ensemble.consensus())
            self._write("mean", ensemble.mean())
        if ensemble.count >= 2:
            self._write("uncertainty", ensemble.variance())
        self._write_record("running" if finished is None else "complete", ensemble, finished)

    def _open(self, started: Started) -> None:
        self._started, self._clock = started, time.monotonic()
        self._began = datetime.now(UTC).isoformat(timespec="seconds")
        self._make_folder()
        self._write_record("running", None, None)

    def _make_folder(self) -> None:
        try:
            (self.folder / "members").mkdir(parents=True, exist_ok=True)
        except OSError as err:
            raise OutputFailed(f"{self.folder} cannot be made: {err.strerror}: choose another place.") from err

    def _paths(self, stem: str, *, number: int | None = None) -> list[Path]:
        labels = self.checkpoint.recipe.labels
        tail = "" if number is None else f"-{number + 1:03d}"
        if len(labels) == 1:
            return [self.folder / f"{stem}{tail}.nii.gz"]
        return [self.folder / f"{stem}_{_slug(label)}{tail}.nii.gz" for label in labels]

    def _own_files(self) -> list[Path]:
        """Files of an earlier run here, `run.json` first."""
        patterns = ("run.json", "mask*.nii.gz", "mean*.nii.gz", "uncertainty*.nii.gz", "members/member*.nii.gz")
        return [p for pattern in patterns for p in sorted(self.folder.glob(pattern))]

    def _write(self, stem: str, maps: npt.NDArray[Any], *, number: int | None = None) -> None:
        for path, array in zip(self._paths(stem, number=number), maps, strict=True):
            write_nifti(path, array, self.case.grid_volume, overwrite=True)

    def _read_member(self, number: int, started: Started) -> npt.NDArray[np.bool_]:
        volumes = [read_mask(p).data.astype(np.bool_) for p in self._paths("members/member", number=number)]
        slabs = [np.moveaxis(v, started.slice_axis, 0)[list(started.slices)] for v in volumes]
        return np.stack(slabs)

    def _record(self) -> dict[str, Any] | None:
        try:
            record = json.loads((self.folder / "run.json").read_text("utf-8"))
        except (OSError, ValueError):
            return None
        return record if isinstance(record, dict) else None

    def _check_same_run(self, record: dict[str, Any] | None) -> None:
        if record is None:
            raise BadRequest(f"{self.folder} holds no readable run.json: nothing to resume there; use --overwrite.")
        mine = self._identity()
        differing = [key for key, value in mine.items() if record.get(key) != value]
        if differing:
            raise BadRequest(
                f"{self.folder} was made with another {', '.join(differing)}: resume with the same settings, "
                "or use --overwrite."
            )

    def _identity(self) -> dict[str, Any]:
        """What must be the same for two runs' members to belong to one ensemble, as JSON gives it back."""
        free = {"members", "device", "batch_size", "focus"}
        request = {k: v for k, v in self.request.model_dump(mode="json").items() if k not in free}
        recipe = self.checkpoint.recipe
        request["sampler"] = request["sampler"] or recipe.sampler
        request["timesteps"] = request["timesteps"] or recipe.timesteps
        return {
            "checkpoint_digest": self.checkpoint.digest,
            "recipe": recipe.model_dump(mode="json"),
            "network": json.loads(json.dumps(self.checkpoint.config.to_dict())),
            "inputs": {name: volume.digest for name, volume in self.case.volumes.items()},
            "settings": request,
        }

    def _write_record(self, status: str, ensemble: Ensemble | None, finished: Finished | None) -> None:
        assert self._started is not None  # begin() or resume() came first
        s = self._started
        record = {
            "format": FORMAT,
            "status": status,
            "case": self.case.id,
            **self._identity(),
            "checkpoint": {"file": self.checkpoint.path.name, "guesses": list(self.checkpoint.guesses)},
            "files": {name: v.path.name if v.path else None for name, v in self.case.volumes.items()},
            "request": self.request.model_dump(mode="json"),
            "members": list(ensemble.members) if ensemble is not None else [],
            "seeds": "noise of member k on source slice i: napari_diffseg.diffusion.noise.member_seed(seed, k, i)",
            "slice_axis": s.slice_axis,
            "slices": list(s.slices),
            "slices_without_brain": sorted(set(s.slices) - set(s.sampled)),
            "uncertainty": "unbiased variance of the binary members",
            "device": s.device,
            "precision": s.precision,
            "sampler": s.sampler,
            "timesteps": s.timesteps,
            "batch_size": finished.batch_size if finished is not None else None,
            "warnings": list(s.warnings),
            "versions": {"python": python_version(), **{name: _version(name) for name in _PACKAGES}},
            "began": self._began,
            "seconds": round(time.monotonic() - self._clock, 3),
        }
        write_json(self.folder / "run.json", record, overwrite=True)


def _check_writable(folder: Path) -> None:
    """Make and remove a file in the folder, or in its nearest parent that exists."""
    place = next(p for p in (folder, *folder.absolute().parents) if p.is_dir())
    probe = place / f".napari-diffseg-{time.monotonic_ns()}.part"
    try:
        probe.touch(exist_ok=False)
        probe.unlink()
    except OSError as err:
        raise OutputFailed(f"{place} cannot be written to: {err.strerror}: choose another place.") from err


def _slug(label: str) -> str:
    return "-".join("".join(c if c.isalnum() else " " for c in label.lower()).split())


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
