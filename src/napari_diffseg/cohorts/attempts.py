"""Attempts at cases: one file each, which is the claim on the case while it lasts and the record of it afterwards.

Attempt n + 1 at a case is begun by making its file, which only one process can; it may be made when attempt n has ended
or its process is dead. No file is ever removed or taken over, so nothing depends on who looks when: not on locks, which
network disks may lack, nor on the clocks of computers.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import threading
import time
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from napari_diffseg.cohorts.who import HEARTBEAT_S, Who
from napari_diffseg.errors import OutputExists, OutputFailed
from napari_diffseg.imaging.atomic import make_folder, write_json

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from napari_diffseg.cohorts.case_list import ListedCase

Outcome = Literal["done", "failed", "stopped"]

_LONGEST: Final = 80
_DIGITS: Final = 8
_GOING_ON: Final[set[str]] = set()
"""Tokens of the attempts that this process makes now."""


class Attempt(BaseModel):
    """One attempt at one case.

    Attributes
    ----------
    case : str
        Its name.
    number : int
        From 1.
    launch : str
        The command that the worker belongs to: what may be tried again is counted within one.
    who : Who
        The worker.
    token : str
        Of this attempt alone.
    began, ended : str
        In UTC; `ended` is empty while it lasts, and for ever where the process died.
    seconds : float
        How long it took.
    outcome : str or None
        `done`, `failed`, or `stopped` where it was cancelled, which is nobody's fault.
    message : str
        Why it failed, one sentence.
    remedies : tuple of (str, str)
        Settings, and their values, that would help.
    may_retry : bool
        Whether that may be otherwise another time.
    members : int
        How many members were asked for.
    settings : str
        Digest of what they are sampled with, but for the images.
    source : str or dict of str to str
        The case's path, or paths by modality.
    inputs : dict
        SHA-256 of the voxels of each modality.
    sources : dict
        Size and time of the last change, in ns, of each file that was read.
    result : str
        SHA-256 of the results, see `result_digest`.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    case: str
    number: int = Field(ge=1)
    launch: str = ""
    who: Who
    token: str
    began: str
    ended: str = ""
    seconds: float = 0.0
    outcome: Outcome | None = None
    message: str = ""
    remedies: tuple[tuple[str, str], ...] = ()
    may_retry: bool = False
    members: int = 0
    settings: str = ""
    source: str | dict[str, str] = ""
    inputs: dict[str, str] = {}
    sources: dict[str, tuple[int, int]] = {}
    result: str = ""


class Attempts:
    """The attempts of a cohort, in a folder that all workers share.

    Parameters
    ----------
    folder : Path
        Made with the first attempt.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ended: dict[str, Attempt] = {}
        """By file name: these change no more."""

    def of_all(self) -> dict[str, list[Attempt]]:
        """The attempts at each case that was tried, by its key, first to last.

        A file that is damaged counts as one whose process died.

        Raises
        ------
        OutputFailed
            If the folder cannot be listed.
        """
        found: dict[str, dict[int, str]] = {}
        for name in self._names():
            key, _, number = name.removesuffix(".json").rpartition(".")
            if key and number.isdigit():
                found.setdefault(key, {})[int(number)] = name
        return {key: [self._read(names[n], key, n) for n in sorted(names)] for key, names in found.items()}

    def of(self, case: str) -> list[Attempt]:
        """The attempts at one case, first to last."""
        return self.of_all().get(key_of(case), [])

    def is_running(self, attempt: Attempt) -> bool:
        """Whether an attempt has not ended and its worker lives."""
        if attempt.outcome is not None or not attempt.token:
            return False
        if attempt.who.is_this_process():
            return attempt.token in _GOING_ON  # one whose end could not be written does not last as long as napari
        return attempt.who.is_alive(self._silent_s(attempt))

    def begin(
        self, case: ListedCase, number: int, *, who: Who, launch: str = "", members: int = 0, settings: str = ""
    ) -> Attempt | None:
        """Claim a case; None if another worker was faster.

        Parameters
        ----------
        case : ListedCase
            The case.
        number : int
            One more than that of its last attempt, which has ended or whose worker is dead.
        who : Who
            The worker.
        launch : str
            The command that it belongs to.
        members : int
            How many members are asked for.
        settings : str
            Digest of what they are sampled with.

        Raises
        ------
        OutputFailed
            If the file cannot be written.
        """
        make_folder(self._folder)
        attempt = Attempt(
            case=case.name,
            number=number,
            launch=launch,
            who=who,
            token=secrets.token_hex(8),
            began=_now(),
            members=members,
            settings=settings,
            source=case.source,
        )
        _GOING_ON.add(attempt.token)  # before others of this process can see it
        try:
            write_json(self._path(attempt), attempt.model_dump(mode="json"))
        except OutputFailed:
            _GOING_ON.discard(attempt.token)
            raise
        except OutputExists:
            # A network disk may make the link, lose the answer, and say that the name is taken: by us.
            there = self._read(self._path(attempt).name, case.name, number)
            if there.token != attempt.token:
                _GOING_ON.discard(attempt.token)
                return None
        return attempt

    def end(self, attempt: Attempt) -> None:
        """Write how an attempt ended.

        Raises
        ------
        OutputFailed
            If it cannot be written.
        """
        ended = attempt.model_copy(update={"ended": _now()})
        write_json(self._path(attempt), ended.model_dump(mode="json"), overwrite=True)

    @contextmanager
    def heartbeat(self, attempt: Attempt) -> Iterator[None]:
        """Within, a thread says every few seconds that the worker lives."""
        path, over = self._path(attempt), threading.Event()

        def beat() -> None:
            while not over.wait(HEARTBEAT_S):
                with suppress(OSError):  # what cannot be written now may be in ten seconds
                    os.utime(path)

        thread = threading.Thread(target=beat, name=f"heartbeat of {attempt.case}", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
            _GOING_ON.discard(attempt.token)

    def _names(self) -> list[str]:
        try:
            return os.listdir(self._folder)
        except FileNotFoundError:
            return []
        except OSError as err:
            raise OutputFailed(f"{self._folder} cannot be listed: {err.strerror}: allow reading it.") from err

    def _read(self, name: str, key: str, number: int) -> Attempt:
        if name in self._ended:
            return self._ended[name]
        try:
            attempt = Attempt.model_validate_json((self._folder / name).read_bytes())
        except (OSError, ValidationError):
            nobody = Who(host="", place="", pid=0, started=0.0)
            return Attempt(case=key, number=number, who=nobody, token="", began="")
        if attempt.outcome is not None:
            self._ended[name] = attempt
        return attempt

    def _silent_s(self, attempt: Attempt) -> float:
        """Seconds since the last heartbeat, by the clock of the disk that both are on."""
        path = self._path(attempt)
        probe = self._folder / f".clock-{secrets.token_hex(8)}"
        try:
            probe.touch()
            try:
                return max(0.0, probe.stat().st_mtime - path.stat().st_mtime)
            finally:
                probe.unlink(missing_ok=True)
        except OSError:
            with suppress(OSError):
                return max(0.0, time.time() - path.stat().st_mtime)
            return 0.0

    def _path(self, attempt: Attempt) -> Path:
        return self._folder / f"{key_of(attempt.case)}.{attempt.number:03d}.json"


def key_of(case: str) -> str:
    """A case's name as part of a file's name: the name itself, a long one cut and told apart by a digest."""
    if len(case.encode()) <= _LONGEST:
        return case
    digest = hashlib.sha256(case.encode()).hexdigest()[:_DIGITS]
    return f"{case.encode()[: _LONGEST - _DIGITS - 1].decode(errors='ignore')}-{digest}"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
