"""How a case stands, by its attempts."""

from __future__ import annotations

import os
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_diffseg.cohorts.attempts import Attempt
    from napari_diffseg.imaging.case import Case

MOST_TRIES: Final = 3
"""Attempts at a case that may fail, or end with their process, within one command."""


class Standing(StrEnum):
    """What can be said of a case."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"

    @property
    def is_free(self) -> bool:
        """Whether a worker may claim it."""
        return self is Standing.WAITING


def judge(attempts: Sequence[Attempt], *, launch: str, is_running: Callable[[Attempt], bool]) -> Standing:
    """How a case stands for a command.

    Parameters
    ----------
    attempts : sequence of Attempt
        At one case, first to last.
    launch : str
        The command: what failed within an earlier one may be tried again.
    is_running : callable
        Whether an attempt still goes on.
    """
    if not attempts:
        return Standing.WAITING
    last = attempts[-1]
    if is_running(last):
        return Standing.RUNNING
    if last.outcome == "done":
        return Standing.DONE
    bad = [a for a in attempts if a.launch == launch and a.outcome in ("failed", None)]
    gave_up = last.launch == launch and last.outcome == "failed" and not last.may_retry
    return Standing.FAILED if gave_up or len(bad) >= MOST_TRIES else Standing.WAITING


def reason(attempts: Sequence[Attempt]) -> str:
    """Why a case failed, or is waiting again; one sentence, empty where there is none to say."""
    if not attempts:
        return ""
    last = attempts[-1]
    if last.outcome is None:
        return (
            f"Its process ended without a word ({last.who.shown or 'unknown'}): it was killed, or memory ran out; "
            "see its log."
        )
    return last.message


def sources_of(case: Case) -> dict[str, tuple[int, int]]:
    """Size and time of the last change, in ns, of each file that a case was read from."""
    paths = (volume.path for volume in case.volumes.values())
    return {os.path.abspath(path): stamp for path in paths if path is not None and (stamp := _stamp(path)) is not None}


def are_unchanged(sources: dict[str, tuple[int, int]]) -> bool:
    """Whether all these files are as they were."""
    return bool(sources) and all(_stamp(path) == stamp for path, stamp in sources.items())


def _stamp(path: str | os.PathLike[str]) -> tuple[int, int] | None:
    try:
        seen = os.stat(path)
    except OSError:
        return None
    return seen.st_size, seen.st_mtime_ns
