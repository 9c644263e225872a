"""How far a run is: the time left, and what is said when it starts and ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_diffseg.events import name_members
from napari_diffseg.segmenting.device.compiling import CompilePhase

if TYPE_CHECKING:
    from napari_diffseg.events import Finished, Started
    from napari_diffseg.segmenting.device.compiling import Compiling


def seconds_left(first: tuple[float, int], now: tuple[float, int], started: Started) -> float | None:
    """Seconds until all evaluations are done at the speed so far, from two (time, evaluations done); None at first."""
    seconds, done = now[0] - first[0], now[1] - first[1]
    if done <= 0 or seconds <= 0:
        return None
    return (started.evaluations - now[1]) * seconds / done


def describe_start(started: Started) -> str:
    """What is sampled where, and what the user should know of it."""
    members = len(started.members)
    compiled = ", compiled" if started.compiled else ""
    masks = f"{members} mask{'s' if members > 1 else ''}"
    slices = f"{len(started.sampled)} slice{'' if len(started.sampled) == 1 else 's'}"
    text = f"Sampling {masks} of {slices} on {started.device}{compiled}."
    if across := started.members_across:
        of = f"{started.plane_across} slices, {len(started.slices_across)} each"
        text = f"{text} {name_members(across)} {'is' if len(across) == 1 else 'are'} sampled in {of}."
    return " ".join([text, *started.warnings])


def describe_across(started: Started, member: int, slice_index: int) -> str:
    """How far a member is that is sampled in slices of the second plane, of which nothing is seen before its end."""
    there = started.slices_across.index(slice_index) + 1
    return (
        f"Member {member + 1}: {started.plane_across} slice {there} of {len(started.slices_across)}. Its mask comes "
        "when all are done."
    )


def describe_estimate(started: Started, slices: int) -> str:
    """How far the one-step estimate is, for which the slices of both planes are evaluated once."""
    return f"One-step estimate: {slices} of {len(started.sampled) + len(started.slices_across)} slices, in both planes."


def describe_finish(finished: Finished, total: int, evaluations: int) -> str:
    """What was sampled in what time, of how many evaluations; `total` members are there now."""
    count = len(finished.members)
    in_all = f", {total} in all" if total != count else ""
    text = f"{count} member{'s' if count > 1 else ''} in {finished.seconds:.0f} s{in_all}."
    return f"{text} {finished.describe_left_out(evaluations)}".rstrip()


def describe_compiling(state: Compiling) -> str:
    """What is to be known of a network that is compiled beside runs; empty where nothing is."""
    match state.phase:
        case CompilePhase.UNDER_WAY:
            return f"Preparing a faster version of this network ({describe_seconds(state.seconds)}). Later runs use it."
        case CompilePhase.READY:
            return "A faster version of this network is ready: the next run uses it."
        case CompilePhase.FAILED:
            return f"{state.note.rstrip('.')}. Runs go on as before."
    return ""


def describe_seconds(seconds: float) -> str:
    """A duration as one looks at a clock: `40 s`, `3 min`, `1 h 5 min`."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
