"""The work of a run as rows, one for each slice of each member, in the order in which they are wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence


class Row(NamedTuple):
    """One slice of one member: one entry of a batch."""

    member: int
    slice_index: int


def order_rows(members: Sequence[int], slices: Sequence[int], *, focus: int | None) -> tuple[Row, ...]:
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
    """
    if focus is None or not slices:
        return tuple(Row(m, s) for m in members for s in slices)
    outwards = sorted(slices, key=lambda s: (abs(s - focus), s))
    first = [Row(m, outwards[0]) for m in members]
    return (*first, *(Row(m, s) for m in members for s in outwards[1:]))


def look_elsewhere(rows: Sequence[Row], focus: int) -> tuple[Row, ...]:
    """The rows that are left of a run, once another slice is looked at: ordered from there, as `order_rows` would."""
    nearest = min((row.slice_index for row in rows), key=lambda s: (abs(s - focus), s), default=focus)

    def turn(row: Row) -> tuple[bool, int, int, int]:
        return row.slice_index != nearest, row.member, abs(row.slice_index - focus), row.slice_index

    return tuple(sorted(rows, key=turn))
