"""The runs that are kept on this machine: which there are, and which are removed when there are too many."""

from __future__ import annotations

import json
import logging
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from napari_diffseg.errors import BadCase
from napari_diffseg.imaging.folder_lock import LOCK, forget, is_locked, is_taken, try_lock
from napari_diffseg.imaging.names.naming import shown_name
from napari_diffseg.plugin.session.scope import scope_words
from napari_diffseg.runs.edited_mask import has_edited
from napari_diffseg.runs.layout import RECORD
from napari_diffseg.runs.result_names import MAPS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from filelock import FileLock

    from napari_diffseg.runs.record import RunRecord

logger = logging.getLogger(__name__)

DEFAULT_KEEP: Final = 50
KEEP_CHOICES: Final = (10, 50, 200, 0)
"""How many of the newest runs are kept; 0 keeps all."""

_OURS = re.compile(r"\d{8}-\d{6}-\d{6}_")
_SETTING = "keep.json"
_OPEN = ".open-"
"""A file that begins so is locked by a window that has the run open."""
_FILES = ("members/member*.nii.gz", *(f"{stem}*.nii.gz" for stem in MAPS), ".origin.json", LOCK, f"{_OPEN}*", RECORD)
_YOUNG_S = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class KeptRun:
    """A kept run, as a line in a list.

    Attributes
    ----------
    folder : Path
        Where it lies.
    case : str
        The case's name.
    began : datetime or None
        When it was begun, in UTC; None where that is not known.
    members : int
        Members on disk.
    is_complete : bool
        Whether it came to its end.
    scope : str
        How much of the case was asked for, in words.
    timesteps : int or None
        Denoising steps of each member; None where that is not known.
    """

    folder: Path
    case: str
    began: datetime | None
    members: int
    is_complete: bool
    scope: str = "whole volume"
    timesteps: int | None = None

    @property
    def words(self) -> str:
        """The line, such as `case_1, 22 Nov 23:10, slice 51, 5 members x 10 steps`, in the time of this machine."""
        when = "" if self.began is None else f", {self.began.astimezone():%d %b %H:%M}"
        state = "" if self.is_complete else ", cut short"
        members = f"{self.members} member{'' if self.members == 1 else 's'}"
        steps = "" if self.timesteps is None else f" x {self.timesteps} step{'' if self.timesteps == 1 else 's'}"
        return f"{shown_name(self.case)}{when}, {self.scope}, {members}{steps}{state}"


class OpenMarks:
    """Tells other windows which kept runs are open here, by a locked file in each; locks go with the process."""

    def __init__(self) -> None:
        self._locks: dict[Path, FileLock] = {}

    def add(self, folder: Path) -> None:
        """Mark a run, if it is one of those that are kept."""
        if folder in self._locks or not _OURS.match(folder.name) or not folder.is_dir():
            return
        if (lock := try_lock(folder / f"{_OPEN}{uuid4().hex}")) is not None:
            self._locks[folder] = lock

    def remove(self, folder: Path) -> None:
        """The run is closed here."""
        if (lock := self._locks.pop(folder, None)) is not None:
            forget(lock)


def is_in_use(folder: Path) -> bool:
    """Whether a run is going on, or open in a window."""
    return is_taken(folder) or any(is_locked(path) for path in folder.glob(f"{_OPEN}*"))


@dataclass(frozen=True)
class RunStore:
    """The folder in which each run of the panel has a folder of its own.

    Parameters
    ----------
    root : Path
        It need not exist yet.
    """

    root: Path

    @classmethod
    def of_user(cls) -> RunStore:
        """The one in the user's data folder."""
        from platformdirs import user_data_path

        return cls(user_data_path("napari-diffseg", appauthor=False) / "runs")

    def newest(self, count: int) -> list[KeptRun]:
        """The newest runs that have a member, newest first; what cannot be read is left out."""
        found: list[KeptRun] = []
        for folder in self._folders():
            run = _kept(folder)
            if run is not None and run.members:
                found.append(run)
            if len(found) == count:
                break
        return found

    @property
    def keep(self) -> int:
        """How many of the newest runs are kept; 0 is all."""
        try:
            kept = json.loads((self.root / _SETTING).read_text("utf-8"))["keep"]
        except (OSError, ValueError, KeyError, TypeError):
            return DEFAULT_KEEP
        return kept if isinstance(kept, int) and kept >= 0 else DEFAULT_KEEP

    def set_keep(self, count: int) -> None:
        """Choose how many are kept.

        Raises
        ------
        OutputFailed
            If it cannot be written down.
        """
        from napari_diffseg.imaging.atomic import write_json

        _make(self.root)
        write_json(self.root / _SETTING, {"keep": count}, overwrite=True)

    def prune(self, spare: Collection[Path] = ()) -> int:
        """Remove the oldest runs beyond `keep`; how many.

        Only files that a run writes are removed, so whatever people put beside them stays, and with it the folder.
        Runs that are going on or open in another napari stay, unfinished ones of the last day, and those whose mask was
        corrected by hand: nothing could make that again.

        Parameters
        ----------
        spare : collection of Path
            Runs that are open; they stay and count among the kept.
        """
        if not self.keep:
            return 0
        spared = {path.resolve() for path in spare}
        removed = 0
        for folder in list(self._folders())[self.keep :]:
            run = _kept(folder)
            if run is None or folder.resolve() in spared or _is_wanted(folder, run):
                continue
            removed += _remove(folder)
        return removed

    def _folders(self) -> Iterator[Path]:
        """Folders of runs by their names, which begin with the time, newest first."""
        try:
            found = [p for p in self.root.iterdir() if _OURS.match(p.name) and p.is_dir() and not p.is_symlink()]
        except OSError:
            return
        yield from sorted(found, key=lambda p: p.name, reverse=True)


def _kept(folder: Path) -> KeptRun | None:
    from napari_diffseg.runs.record import read_record
    from napari_diffseg.runs.stored_run import count_members

    try:
        record = read_record(folder)
    except BadCase as err:
        logger.debug("Not among the kept runs: %s", err)
        return None
    return KeptRun(
        folder,
        record.case,
        _began(record),
        count_members(folder, record),
        record.status == "complete",
        scope_words(_text(record.request.get("slices")), _text(record.request.get("window"))),
        record.timesteps,
    )


def _text(setting: object) -> str | None:
    return setting if isinstance(setting, str) else None


def begun_at(folder: Path) -> datetime | None:
    """When the run of a folder was begun, by the name that the panel gave it; None where somebody else named it."""
    if not _OURS.match(folder.name):
        return None
    try:
        return datetime.strptime(folder.name[:15], "%Y%m%d-%H%M%S")
    except ValueError:
        return None


def _began(record: RunRecord) -> datetime | None:
    try:
        when = datetime.fromisoformat(record.began)
    except ValueError:
        return None
    return when if when.tzinfo is not None else when.replace(tzinfo=UTC)


def _is_wanted(folder: Path, run: KeptRun) -> bool:
    """Whether a run is not to be removed, however old it is."""
    return _may_go_on(run) or is_in_use(folder) or has_edited(folder)


def _may_go_on(run: KeptRun) -> bool:
    return not run.is_complete and (run.began is None or (datetime.now(UTC) - run.began).total_seconds() < _YOUNG_S)


def _remove(folder: Path) -> bool:
    """Remove a run's files, its record last, so that what an interruption leaves is still known as a run."""
    try:
        for pattern in _FILES:
            for path in folder.glob(pattern):
                path.unlink()
        for place in (folder / "members", folder):
            if place.is_dir() and not any(place.iterdir()):
                place.rmdir()
    except OSError as err:
        logger.warning("The old run %s could not be removed: %s", folder, err)
        return False
    return True


def _make(folder: Path) -> None:
    from napari_diffseg.errors import OutputFailed

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise OutputFailed(f"{folder} cannot be made: {err.strerror}: allow writing there.") from err
