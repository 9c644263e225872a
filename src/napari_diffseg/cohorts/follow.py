"""How far a command has come, by the files of its workers, wherever these are."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from napari_diffseg.cohorts.attempts import key_of
from napari_diffseg.cohorts.standing import Standing

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_diffseg.cohorts.attempts import Attempt
    from napari_diffseg.cohorts.case_list import ListedCase
    from napari_diffseg.cohorts.cohort_folder import CaseRow, CohortFolder
    from napari_diffseg.cohorts.launch import Launch


@dataclass
class Follower:
    """Looks at a cohort again and again, and tells what has changed.

    Parameters
    ----------
    folder : CohortFolder
        Of the cohort.
    launch : Launch
        The command.
    """

    folder: CohortFolder
    launch: Launch
    counts: dict[Standing, int] = field(default_factory=dict, init=False)
    """How many cases stand how, at the last look."""
    seconds_left: float | None = field(default=None, init=False)
    """Estimate at the last look, from the cases that this command has done; None while there is none."""
    _cases: dict[str, ListedCase] = field(init=False)
    _over: dict[str, Standing] = field(default_factory=dict, init=False)
    _seconds: list[float] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        listed = self.folder.cases()
        self._cases = {name: listed[name] for name in self.launch.names}

    def look(self) -> list[tuple[str, Standing, Attempt | None]]:
        """The cases that are done or have failed for good since the last look, with their last attempts."""
        tried = self.folder.attempts.of_all()
        ended: list[tuple[str, Standing, Attempt | None]] = []
        running = 0
        for name, case in self._cases.items():
            if name in self._over:
                continue
            attempts = tried.get(key_of(name), [])
            standing = self._standing(case, attempts)
            running += standing is Standing.RUNNING
            if standing in (Standing.DONE, Standing.FAILED):
                self._over[name] = standing
                last = attempts[-1] if attempts else None
                ended.append((name, standing, last))
                if last is not None and last.launch == self.launch.id and standing is Standing.DONE:
                    self._seconds.append(last.seconds)
        self._count(running)
        return ended

    def _standing(self, case: ListedCase, attempts: list[Attempt]) -> Standing:
        launch = self.launch
        return self.folder.standing(
            case, attempts, members=launch.request.members, settings=launch.settings, launch=launch.id
        )

    def _count(self, running: int) -> None:
        done = sum(standing is Standing.DONE for standing in self._over.values())
        failed = len(self._over) - done
        waiting = len(self._cases) - len(self._over) - running
        self.counts = {
            Standing.DONE: done, Standing.FAILED: failed, Standing.RUNNING: running, Standing.WAITING: waiting
        }  # fmt: skip
        self.seconds_left = seconds_left(self._seconds, left=running + waiting, workers=running)

    @property
    def is_over(self) -> bool:
        """Whether every case is done or has failed for good."""
        return len(self._over) == len(self._cases)

    @property
    def has_free_cases(self) -> bool:
        """Whether, at the last look, a case waited for a worker."""
        return bool(self.counts.get(Standing.WAITING))

    @property
    def unfinished(self) -> int:
        """Cases that, at the last look, waited or were worked on."""
        return self.counts.get(Standing.WAITING, 0) + self.counts.get(Standing.RUNNING, 0)


def seconds_left(done: Iterable[float], *, left: int, workers: int) -> float | None:
    """How long the cases that are left will take, if they take as long as those that are done.

    Parameters
    ----------
    done : iterable of float
        Seconds that each case has taken.
    left : int
        Cases that are not done.
    workers : int
        How many are worked on at once.
    """
    seconds = list(done)
    if not seconds or not left or not workers:
        return None
    return sum(seconds) / len(seconds) * left / workers


def estimate(rows: Iterable[CaseRow]) -> float | None:
    """`seconds_left` by a table."""
    rows = list(rows)
    done = [row.last.seconds for row in rows if row.state is Standing.DONE and row.last is not None]
    running = sum(row.state is Standing.RUNNING for row in rows)
    left = sum(row.state in (Standing.RUNNING, Standing.WAITING) for row in rows)
    return seconds_left(done, left=left, workers=running)
