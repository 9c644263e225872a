"""Every case read before a training begins, so that all that cannot be used are named at once."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from napari_diffseg.errors import BadCase, BadImage, Remedy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from napari_diffseg.training.source import CaseSource, Slices
    from napari_diffseg.training.split import Split

MOST_NAMED: Final = 20
"""Cases in one message; with so many of them the reading stops."""


class Job(NamedTuple):
    """A case, and whether it is trained on or held out."""

    case: str
    trained_on: bool


@dataclass(frozen=True, slots=True)
class _Refused:
    name: str
    why: str
    remedies: tuple[Remedy, ...] = ()


def check_cases(source: CaseSource, split: Split) -> None:
    """Refuse cases of which names and headers of their files tell that they cannot be used.

    Raises
    ------
    BadCase
        If there are such; each is named, up to 20.
    """
    refused: list[_Refused] = []
    for name in split.cases:
        outcome = _attempt(partial(_checked, source), name)
        if isinstance(outcome, _Refused):
            refused.append(outcome)
        if len(refused) == MOST_NAMED:
            break
    if refused:
        raise _all_of(refused, len(split.cases))


def read_slices(
    source: CaseSource, jobs: Sequence[Job], *, workers: int, told: Callable[[int], None], total: int
) -> Iterator[tuple[Job, Slices | None]]:
    """The slices of the cases that are trained on, None of those that are held out, which are only looked at.

    Parameters
    ----------
    source : CaseSource
        Gives them.
    jobs : sequence of Job
        Which cases.
    workers : int
        Processes that read at once; the order does not depend on it.
    told : callable
        Called with how many of the jobs are done, after each.
    total : int
        Cases of the training, for the message.

    Raises
    ------
    BadCase
        After the last case, if some cannot be used; each is named, up to 20.
    """
    refused: list[_Refused] = []
    for done, (job, outcome) in enumerate(zip(jobs, _outcomes(source, jobs, workers), strict=False), start=1):
        if isinstance(outcome, _Refused):
            refused.append(outcome)
            if len(refused) == MOST_NAMED:
                break
        else:
            yield job, outcome
        told(done)
    if refused:
        raise _all_of(refused, total)


def _outcomes(source: CaseSource, jobs: Sequence[Job], workers: int) -> Iterable[Slices | _Refused | None]:
    if workers <= 1:
        yield from (_attempt(partial(_read, source), job) for job in jobs)
        return
    # Not forked: a child of a process whose OpenMP threads have run waits for them for ever.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as executor:
        yield from executor.map(partial(_attempt, partial(_read, source)), jobs, chunksize=2)


def _read(source: CaseSource, job: Job) -> Slices | None:
    if job.trained_on:
        return source.slices(job.case)
    source.read(job.case)
    return None


def _checked(source: CaseSource, case: str) -> None:
    source.check(case)


def _attempt(work: Callable[[Any], Slices | None], what: Job | str) -> Slices | _Refused | None:
    name = what if isinstance(what, str) else what.case
    try:
        return work(what)
    except (BadCase, BadImage) as err:
        return _Refused(name, str(err), err.remedies)
    except OSError as err:
        return _Refused(name, f"It cannot be looked at: {err.strerror}: allow reading it, or take it away.")


def _all_of(refused: list[_Refused], total: int) -> BadCase:
    """One error that names each case, with what would help any of them."""
    return BadCase(_message(refused, total), *dict.fromkeys(r for case in refused for r in case.remedies))


def _message(refused: list[_Refused], total: int) -> str:
    lines = [f"{r.name}: {r.why.removeprefix(f'Case {r.name}: ')}" for r in refused]
    if len(lines) == 1:
        return f"Case {lines[0]}"
    least = "At least " if len(lines) == MOST_NAMED < total else ""
    head = f"{least}{len(lines)} of {total} cases cannot be used: mend them, or take them away."
    return "\n".join([head, *(f"  {line}" for line in lines)])
