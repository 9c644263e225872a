"""The parts in which a run was made, one for each time that it was begun or taken up again, so that they add up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from napari_diffseg.runs.record import RunRecord


class Part(BaseModel):
    """What one sitting of a run made, and on what.

    Attributes
    ----------
    began : str
        When, in UTC.
    seconds : float
        How long it took; 0 for one that was killed, which could not say.
    members : tuple of int
        Numbers of the members that it finished.
    device, precision : str
        Where they were sampled.
    compiled : bool
        Whether by a network that was compiled ahead.
    batch_size : int or None
        Slices evaluated at once; None for a part that was cut short.
    unneeded : int or None
        Evaluations that were left out because masks were decided early; None for a part that was cut short.
    unneeded_empty : int or None
        Those among them on slices where no lesion was expected; the others are of masks that no longer changed.
    versions : dict
        Of Python and the packages that matter.
    """

    model_config = ConfigDict(frozen=True)

    began: str = ""
    seconds: float = Field(0.0, ge=0, allow_inf_nan=False)
    members: tuple[int, ...] = ()
    device: str = ""
    precision: str = ""
    compiled: bool = False
    batch_size: int | None = None
    unneeded: int | None = None
    unneeded_empty: int | None = None
    versions: dict[str, str | None] = {}


def parts_of(record: RunRecord, on_disk: Sequence[int]) -> tuple[Part, ...]:
    """The parts that a run on disk was made in.

    Parameters
    ----------
    record : RunRecord
        What it says of itself. One that knows no parts is a single part.
    on_disk : sequence of int
        Numbers of the members whose files are there. Those that no part speaks for are the last one's, which was
        killed before it could write so; those that are gone are nobody's.
    """
    parts = record.parts or (_single(record),)
    known = {k for part in parts for k in part.members}
    unsaid = [k for k in on_disk if k not in known]
    there = [_with_members(part, [k for k in part.members if k in on_disk]) for part in parts]
    there[-1] = _with_members(there[-1], [*there[-1].members, *unsaid])
    return tuple(there)


def unclaimed(members: Iterable[int], parts: Iterable[Part]) -> tuple[int, ...]:
    """Those of the members that none of the parts made."""
    claimed = {k for part in parts for k in part.members}
    return tuple(k for k in members if k not in claimed)


def _single(record: RunRecord) -> Part:
    return Part(
        began=record.began,
        seconds=record.seconds,
        members=record.members,
        device=record.device,
        precision=record.precision,
        batch_size=record.batch_size,
        versions=record.versions,
    )


def _with_members(part: Part, members: Sequence[int]) -> Part:
    return part.model_copy(update={"members": tuple(sorted(members))})
