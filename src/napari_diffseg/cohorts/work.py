"""The loop of a worker: claim a case, segment it, say how it went, and go on to the next."""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from napari_diffseg.cohorts.attempts import key_of
from napari_diffseg.cohorts.cohort_folder import CohortFolder
from napari_diffseg.cohorts.digest import result_digest
from napari_diffseg.cohorts.standing import Standing, sources_of
from napari_diffseg.cohorts.who import this_process
from napari_diffseg.errors import DiffsegError, EngineFailed, OutputFailed, RunFailed
from napari_diffseg.events import Started
from napari_diffseg.runs.layout import MEMBERS

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

    from napari_diffseg.cohorts.attempts import Attempt, Outcome
    from napari_diffseg.cohorts.case_list import ListedCase
    from napari_diffseg.cohorts.cohort_run import CohortRun
    from napari_diffseg.events import SamplingEvent

logger = logging.getLogger(__name__)

_FRESH_S: Final = 5.0
"""How long a list of attempts is used: listing a folder of thousands of files on a network disk takes a while."""


@dataclass(frozen=True, slots=True)
class CaseSkipped:
    """A case is left alone: it is `done`, another worker has it (`elsewhere`), or it failed too often (`failed`)."""

    name: str
    folder: Path
    why: str


@dataclass(frozen=True, slots=True)
class CaseBegun:
    """A case is claimed; attempts count from 1."""

    name: str
    folder: Path
    attempt: int


@dataclass(frozen=True, slots=True)
class CaseProgress:
    """An event of the run of a case, whose results are on disk already."""

    name: str
    event: SamplingEvent


@dataclass(frozen=True, slots=True)
class CaseEnded:
    """A case is `done` or `failed`; `error` says why, `again` whether this worker will try it once more.

    `sampled` is False where all its members were there already.
    """

    name: str
    folder: Path
    outcome: Outcome
    seconds: float
    error: DiffsegError | None = None
    again: bool = False
    sampled: bool = True


CohortEvent = CaseSkipped | CaseBegun | CaseProgress | CaseEnded


def work_through(run: CohortRun, names: Sequence[str], *, launch: str = "", first: int = 0) -> Generator[CohortEvent]:
    """Segment the cases that are neither done nor another worker's; one that fails stops no other.

    A case that fails for a reason that may pass (memory, device, engine, disk) is tried again after the others. Closing
    the generator cancels the case that is sampled; its finished members are kept, and another call goes on with them.

    Parameters
    ----------
    run : CohortRun
        What is done with each; whether results are replaced is said in its folder.
    names : sequence of str
        Cases of the list in its folder.
    launch : str
        The command that this worker belongs to, shared by all its workers; one of its own by default.
    first : int
        Index of the case to begin with: workers that begin apart meet late.

    Raises
    ------
    OutputFailed
        If the state of the cohort cannot be written.
    EngineFailed
        If the engine of another computer cannot be had any more; the other cases wait.
    """
    folder = CohortFolder(run.out)
    listed = folder.cases()
    order = [listed[name] for name in (*names[first:], *names[:first])]
    worker = _Worker(folder, run, launch or uuid4().hex)
    tried = True
    while tried:  # the last look finds nothing: neither what failed, nor what the death of a worker has set free
        tried = False
        for case in order:
            tried = (case.name not in worker.done and (yield from worker.try_case(case))) or tried


@dataclass
class _Worker:
    """One process at one case at a time."""

    folder: CohortFolder
    run: CohortRun
    launch: str
    done: set[str] = field(default_factory=set, init=False)
    """Cases that this worker has done, or found to be done."""
    _settings: str = field(init=False)
    _told: set[str] = field(default_factory=set, init=False)
    _seen: dict[str, list[Attempt]] = field(default_factory=dict, init=False)
    _looked: float = field(default=-_FRESH_S, init=False)

    def __post_init__(self) -> None:
        self._settings = self.run.settings

    def try_case(self, case: ListedCase) -> Generator[CohortEvent, None, bool]:
        """Claim and segment a case where it is to be had; whether it was."""
        attempts = self._attempts_at(case)
        standing = self._standing(case, attempts)
        attempt = None
        if standing.is_free:
            attempt = self.folder.attempts.begin(
                case,
                attempts[-1].number + 1 if attempts else 1,
                who=this_process(),
                launch=self.launch,
                members=self.run.request.members,
                settings=self._settings,
            )
        if standing is Standing.DONE:
            self.done.add(case.name)
        if attempt is None:
            if case.name not in self._told:
                self._told.add(case.name)
                yield CaseSkipped(case.name, self.folder.result_folder(case.name), _why(standing))
            return False
        self._told.add(case.name)
        ended = yield from self._attempt(case, attempt)
        if ended.outcome == "done":
            self.done.add(case.name)
        yield ended
        if isinstance(ended.error, EngineFailed):
            self.run.check_engine()
        return True

    def _attempts_at(self, case: ListedCase) -> list[Attempt]:
        """As they were a moment ago: a claim tells whether more have come."""
        if time.monotonic() - self._looked >= _FRESH_S:
            self._seen, self._looked = self.folder.attempts.of_all(), time.monotonic()
        return self._seen.get(key_of(case.name), [])

    def _standing(self, case: ListedCase, attempts: Sequence[Attempt]) -> Standing:
        members = self.run.request.members
        return self.folder.standing(case, attempts, members=members, settings=self._settings, launch=self.launch)

    def _attempt(self, case: ListedCase, attempt: Attempt) -> Generator[CohortEvent, None, CaseEnded]:
        """Make one attempt and record how it ended, whatever happens but the death of the process."""
        clock = time.monotonic()
        place = self.folder.result_folder(case.name)
        error: DiffsegError | None = None
        found: dict[str, Any] = {"outcome": "stopped"}
        sampled = True
        with self.folder.attempts.heartbeat(attempt):
            try:
                yield CaseBegun(case.name, place, attempt.number)
                sampled = yield from self._segment(case, found)
                found |= {"result": result_digest(place), "outcome": "done"}
            except DiffsegError as err:
                error = err
            except (OSError, MemoryError) as err:
                error = RunFailed(f"Case {case.name}: {str(err) or type(err).__name__}: make room, or run it again.")
            except Exception as err:  # a fault of ours, or of a library, at one case: the others are not to suffer
                logger.exception("Case %s failed unexpectedly.", case.name)
                error = RunFailed(f"Case {case.name} failed unexpectedly ({_in_one_line(err)}): please report it.")
            finally:
                ended = attempt.model_copy(update=found | _how_it_failed(error) | {"seconds": _since(clock)})
                self.folder.attempts.end(ended)
        self._looked = -_FRESH_S
        again = error is not None and self._standing(case, self._attempts_at(case)).is_free
        return CaseEnded(case.name, place, ended.outcome or "stopped", ended.seconds, error, again, sampled)

    def _segment(self, listed: ListedCase, found: dict[str, Any]) -> Generator[CaseProgress, None, bool]:
        """Read and sample a case; False where nothing was left to be sampled."""
        replaces = self.folder.is_to_replace(listed.name)
        run = replace(self.run, overwrite=replaces, resume=not replaces)
        here = run.folder_of(listed.files())
        found["inputs"] = {name: volume.digest for name, volume in here.case.volumes.items()}
        found["sources"] = sources_of(here.case)
        if run.is_done(here):
            return False
        _remove_unfinished_files(here.folder)
        events = run.events(here)
        try:
            for event in events:
                if replaces and isinstance(event, Started):  # what was there is gone: from now on it is this run's
                    self.folder.has_replaced(listed.name)
                yield CaseProgress(listed.name, event)
        finally:
            events.close()
        return True


def _in_one_line(err: Exception) -> str:
    return f"{type(err).__name__}: {(str(err).splitlines() or [''])[0]}"


def _how_it_failed(error: DiffsegError | None) -> dict[str, Any]:
    if error is None:
        return {}
    remedies = tuple((remedy.setting, remedy.value) for remedy in error.remedies)
    return {"outcome": "failed", "message": str(error), "remedies": remedies, "may_retry": may_pass(error)}


def _since(clock: float) -> float:
    return round(time.monotonic() - clock, 3)


def _remove_unfinished_files(folder: Path) -> None:
    """What a process that was killed while it wrote has left; nobody else writes here now."""
    for path in (*folder.glob(".*.part"), *(folder / MEMBERS).glob(".*.part")):
        with suppress(OSError):
            path.unlink()


def may_pass(error: DiffsegError | None) -> bool:
    """Whether a failure may be otherwise another time: memory, device, engine or disk; not images or settings."""
    return isinstance(error, RunFailed | OutputFailed | EngineFailed)


def _why(standing: Standing) -> str:
    return {Standing.DONE: "done", Standing.FAILED: "failed"}.get(standing, "elsewhere")
