"""The work of a run as rows, one for each slice of each member, in the order in which they are wanted."""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence


class Row(NamedTuple):
    """One slice of one member: one entry of a batch. `across`: the slice is one of the recipe's second plane."""

    member: int
    slice_index: int
    across: bool = False


Batch = tuple[Row, ...]


def is_sampled_across(member: int) -> bool:
    """Whether a member is one of those that are sampled in a recipe's second plane, where there is one."""
    return member % 2 == 1


def order_rows(
    members: Sequence[int], slices: Sequence[int], *, focus: int | None, across: Sequence[int] = ()
) -> tuple[Row, ...]:
    """All rows of a run.

    Without a focus a member is finished before the next begins, so that an interrupted run keeps whole members. With
    one, every member of the focused slice comes first, for the eye; then again member by member, each from the
    focus outwards.

    Parameters
    ----------
    members, slices : sequence of int
        Member numbers and source slice indices.
    focus : int, optional
        The source slice on screen; the nearest of `slices` is taken.
    across : sequence of int
        Slices of the second plane, of every second member instead; none where there is no second plane.
    """
    first: tuple[Row, ...] = ()
    if focus is not None and slices:
        outwards = sorted(slices, key=lambda s: (abs(s - focus), s))
        first = tuple(Row(m, outwards[0]) for m in members if not (across and is_sampled_across(m)))
        slices = outwards[1:]
    rest = []
    for m in members:
        if across and is_sampled_across(m):
            rest += [Row(m, s, across=True) for s in across]
        else:
            rest += [Row(m, s) for s in slices]
    return (*first, *rest)


def look_elsewhere(rows: Sequence[Row], focus: int) -> tuple[Row, ...]:
    """The rows that are left of a run, once another slice is looked at: ordered from there, as `order_rows` would."""
    nearest = min((row.slice_index for row in rows if not row.across), key=lambda s: (abs(s - focus), s), default=focus)

    def turn(row: Row) -> tuple[bool, int, int, int]:
        away = 0 if row.across else abs(row.slice_index - focus)
        return row.across or row.slice_index != nearest, row.member, away, row.slice_index

    return tuple(sorted(rows, key=turn))


def of_one_plane(rows: Sequence[Row]) -> tuple[Row, ...]:
    """The rows from the first on that are of its plane."""
    return tuple(takewhile(lambda row: row.across == rows[0].across, rows))
