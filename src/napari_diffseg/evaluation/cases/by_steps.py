"""What more denoising steps bring: the same cases, predicted several times."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Final

from napari_diffseg.runs.layout import RECORD

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from napari_diffseg.evaluation.cases.case_scores import CaseScores

_Steps = tuple[str, int]
_Slices = tuple[int, ...]
_LEFT_OUT: Final = "left out of the comparison by steps"


@dataclass(frozen=True, slots=True)
class StepsScores:
    """The cases that all predictions share, predicted with one sampler in one number of steps.

    Attributes
    ----------
    sampler : str
        Its name in run.json.
    timesteps : int
        Denoising steps of each member.
    cases : int
        How many cases the means are of, the same for all.
    dice : tuple of float
        Of each case, by name; `mean_dice` is their mean.
    ece, ged_squared : float
        Means over the cases; NaN where one has none.
    """

    sampler: str
    timesteps: int
    cases: int
    dice: tuple[float, ...]
    mean_dice: float
    ece: float
    ged_squared: float


@dataclass(frozen=True, slots=True)
class PredictedFolder:
    """The cases of one folder that could be measured, and the folder as the user named it."""

    name: str
    cases: tuple[CaseScores, ...]


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What the comparison does without: a line for all to read, and the note that each of the cases concerned gets.

    Of a whole folder there is the line alone.
    """

    line: str
    cases: tuple[str, ...] = ()
    note: str = ""


def sort_out(folders: Sequence[PredictedFolder]) -> tuple[tuple[CaseScores, ...], tuple[LeftOut, ...]]:
    """Of several predictions of the same cases, find what can be compared, folder by folder.

    Parameters
    ----------
    folders : sequence of PredictedFolder
        The first is the one that is reported. The steps of a folder are those of most of its cases, the slices of a
        case those that most folders have it on, of as many those of the folder before.

    Returns
    -------
    cases : tuple of CaseScores
        Those that all folders have in their steps, on the same slices. Without a folder that has none of its cases on
        the slices of the others, whose steps are those of one before it, or that shares no case with those before it;
        empty if there is nothing to compare.
    left_out : tuple of LeftOut
        All that is not compared, and why; cases that share their reasons share an entry.
    """
    slices = _usual_slices(folders)
    kept: list[_Folder] = []
    left_out = []
    for folder in folders:
        one = _by_its_steps(folder, slices, taken=[k.steps for k in kept])
        if why := _why_not(one, kept):
            left_out.append(LeftOut(f"{folder.name} is {_LEFT_OUT}: {why}"))
        else:
            kept.append(one)
    if len(kept) < 2:
        return (), tuple(left_out)
    shared = set.intersection(*(set(k.cases) for k in kept))
    return tuple(k.cases[name] for k in kept for name in sorted(shared)), (*left_out, *_odd_cases(kept, shared))


def compare_steps(scores: Iterable[CaseScores]) -> tuple[StepsScores, ...]:
    """Put cases together by the sampler and the steps that their run.json states.

    Parameters
    ----------
    scores : iterable of CaseScores
        The same cases in each number of steps, as `sort_out` finds them.

    Returns
    -------
    tuple of StepsScores
        By sampler, then steps.
    """
    groups: dict[_Steps, list[CaseScores]] = {}
    for case in scores:
        if (steps := _steps_of(case)) is not None:
            groups.setdefault(steps, []).append(case)
    return tuple(_of(steps, groups[steps]) for steps in sorted(groups))


@dataclass(frozen=True, slots=True)
class _Folder:
    """A folder, the steps of most of its cases (None where none states them), and the cases in these, by name.

    Only cases on the usual slices count, which `slices` has by case.
    """

    folder: PredictedFolder
    slices: Mapping[str, _Slices]
    steps: _Steps | None
    cases: dict[str, CaseScores]

    def why_without(self, name: str) -> str | None:
        """Why it has no case of this name to compare; None if it has."""
        if name in self.cases:
            return None
        there = [case for case in self.folder.cases if case.case == name]
        if not there:
            return f"{self.folder.name} has not measured it"
        if (steps := _steps_of(there[0])) is None:
            return f"{self.folder.name} has it without its steps in {RECORD}"
        if (slices := _slices_of(there[0])) != self.slices[name]:
            return f"{self.folder.name} has it on {_span(slices)}, not on {_span(self.slices[name])}"
        return f"{self.folder.name} has it of {_words(steps)}, not of {_words(self.steps)}"


def _usual_slices(folders: Sequence[PredictedFolder]) -> dict[str, _Slices]:
    """The slices that most folders have each case on, of as many those that came first; without steps none counts."""
    counted: dict[str, Counter[_Slices]] = {}
    for case in (case for folder in folders for case in folder.cases if _steps_of(case) is not None):
        counted.setdefault(case.case, Counter())[_slices_of(case)] += 1
    return {name: counter.most_common(1)[0][0] for name, counter in counted.items()}


def _by_its_steps(folder: PredictedFolder, slices: Mapping[str, _Slices], *, taken: Sequence[_Steps | None]) -> _Folder:
    """Of steps that as many cases have, those that no folder has taken go first."""
    alike = [case for case in folder.cases if _slices_of(case) == slices.get(case.case)]
    counted = Counter(steps for steps in map(_steps_of, alike) if steps is not None)
    usual = max(counted, key=lambda steps: (counted[steps], steps not in taken), default=None)
    cases = {case.case: case for case in alike if usual is not None and _steps_of(case) == usual}
    return _Folder(folder, slices, usual, cases)


def _why_not(one: _Folder, kept: Sequence[_Folder]) -> str | None:
    """Why a folder cannot be compared with those that are kept; None if it can."""
    if not one.folder.cases:
        return "none of its cases could be measured"
    if all(_steps_of(case) is None for case in one.folder.cases):
        return f"no {RECORD} in it states sampler and steps"
    if one.steps is None:
        first = next(case for case in one.folder.cases if _steps_of(case) is not None)
        own, usual = _span(_slices_of(first)), _span(one.slices[first.case])
        return f"it has its cases on other slices than other folders, such as {first.case} on {own}, not {usual}"
    for other in kept:
        if one.steps == other.steps:
            return f"its cases are of {_words(one.steps)}, as those of {other.folder.name}"
    if kept and not set.intersection(*(set(k.cases) for k in [*kept, one])):
        return f"it has none of the cases of {', '.join(k.folder.name for k in kept)}"
    return None


def _odd_cases(kept: Sequence[_Folder], shared: set[str]) -> list[LeftOut]:
    """The cases that not all folders have in their steps, together where they share the reasons."""
    by_reason: dict[str, list[str]] = {}
    for name in sorted({case.case for k in kept for case in k.folder.cases} - shared):
        why = "; ".join(reason for k in kept if (reason := k.why_without(name)))
        by_reason.setdefault(f"{_LEFT_OUT}: {why}", []).append(name)
    return [LeftOut(f"{', '.join(names)}: {note}", tuple(names), note) for note, names in by_reason.items()]


def _steps_of(case: CaseScores) -> _Steps | None:
    return None if case.timesteps is None else (case.sampler, case.timesteps)


def _slices_of(case: CaseScores) -> _Slices:
    return tuple(one.index for one in case.slices)


def _span(slices: _Slices) -> str:
    first, last = slices[0], slices[-1]
    many = "" if last - first + 1 == len(slices) else f"{len(slices)} of "
    return f"slice {first}" if first == last else f"{many}slices {first} to {last}"


def _words(steps: _Steps | None) -> str:
    sampler, timesteps = steps or ("", 0)
    return f"{sampler or 'an unnamed sampler'} in {timesteps} steps"


def _of(steps: _Steps, cases: list[CaseScores]) -> StepsScores:
    dice = tuple(case.overlap.dice for case in cases)
    return StepsScores(
        *steps,
        cases=len(cases),
        dice=dice,
        mean_dice=fmean(dice),
        ece=fmean(math.nan if c.calibration is None else c.calibration.ece for c in cases),
        ged_squared=fmean(math.nan if c.distribution is None else c.distribution.ged_squared for c in cases),
    )
