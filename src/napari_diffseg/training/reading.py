"""Every case read before a training begins, so that all that cannot be used are named at once."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from typing import TYPE_CHECKING, Final

from napari_diffseg.errors import BadCase, BadImage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from napari_diffseg.training.source import CaseSource, Slices
    from napari_diffseg.training.split import Split

MOST_NAMED: Final = 20
"""Cases in one message; with so many of them the reading stops."""


@dataclass(frozen=True, slots=True)
class _Refused:
    name: str
    why: str


def read_slices(
    source: CaseSource, split: Split, *, workers: int, told: Callable[[int, int], None]
) -> Iterator[Slices]:
    """The slices of the cases that are trained on; those that are held out are only looked at.

    Parameters
    ----------
    source : CaseSource
        Gives them.
    split : Split
        Which cases.
    workers : int
        Processes that read at once; the order does not depend on it.
    told : callable
        Called with how many cases that are trained on have been read, and how many there are.

    Raises
    ------
    BadCase
        After the last case, if some cannot be used; each is named, up to 20.
    """
    refused: list[_Refused] = []
    for done, outcome in enumerate(_outcomes(source, split, workers), start=1):
        if isinstance(outcome, _Refused):
            refused.append(outcome)
            if len(refused) == MOST_NAMED:
                break
        elif outcome is not None:
            yield outcome
        if done <= len(split.train):
            told(done, len(split.train))
    if refused:
        raise BadCase(_message(refused, len(split.cases)))


def _outcomes(source: CaseSource, split: Split, workers: int) -> Iterable[Slices | _Refused | None]:
    jobs = [*((name, True) for name in split.train), *((name, False) for name in split.held_out)]
    if workers <= 1:
        yield from map(partial(_attempt, source), jobs)
        return
    # Not forked: a child of a process whose OpenMP threads have run waits for them for ever.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as executor:
        yield from executor.map(partial(_attempt, source), jobs, chunksize=2)


def _attempt(source: CaseSource, job: tuple[str, bool]) -> Slices | _Refused | None:
    name, trained_on = job
    try:
        if trained_on:
            return source.slices(name)
        source.read(name)
    except (BadCase, BadImage) as err:
        return _Refused(name, str(err))
    except OSError as err:
        return _Refused(name, f"It cannot be looked at: {err.strerror}: allow reading it, or take it away.")
    return None


def _message(refused: list[_Refused], total: int) -> str:
    lines = [f"{r.name}: {r.why.removeprefix(f'Case {r.name}: ')}" for r in refused]
    if len(lines) == 1:
        return f"Case {lines[0]}"
    least = "At least " if len(lines) == MOST_NAMED < total else ""
    head = f"{least}{len(lines)} of {total} cases cannot be used: mend them, or take them away."
    return "\n".join([head, *(f"  {line}" for line in lines)])
