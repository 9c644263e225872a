"""The files of one case's prediction: by names of our own, under any other, or as a BIDS derivative."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_diffseg.errors import BadCase, Remedy
from napari_diffseg.runs.layout import ENDING, BidsRunFiles, RunFiles, bids_word
from napari_diffseg.runs.record import read_record_file

if TYPE_CHECKING:
    from pathlib import Path

    from napari_diffseg.runs.record import RunRecord


@dataclass(frozen=True, slots=True)
class PredictionFiles:
    """One case's mask, and what lies beside it.

    Attributes
    ----------
    run : RunFiles or None
        By which names of our own they lie there; None for a mask under any other name.
    alone : Path or None
        That mask, to which nothing belongs.
    """

    run: RunFiles | None = None
    alone: Path | None = None

    @property
    def is_flat(self) -> bool:
        """Whether other cases may lie beside it."""
        return self.run is None or bool(self.run.prefix)

    def mask(self, case_id: str, channel: str | None) -> Path:
        """The one to measure; `channel` as it stands in the file's name.

        Raises
        ------
        BadCase
            If there is none, or not this one, or there are several and none is named.
        """
        there = self._masks()
        if channel is not None and (named := there.get(f"_{self._word(channel)}")) is not None:
            return named
        if not there:
            raise BadCase(
                f"Case {case_id}: its folder has no mask{ENDING}: go on with the run, which writes it at its end.",
                Remedy("resume"),
            )
        # A run writes a mean beside each of its masks; without one, somebody put it there, such as a correction.
        written = [path for path in there.values() if (mean := self.map("mean", path)) is not None and mean.exists()]
        candidates = [there[""]] if "" in there else written or list(there.values())
        if channel is None and len(candidates) == 1:
            return candidates[0]
        names = ", ".join(tail.removeprefix("_") for tail in there if tail)
        remedy = Remedy("channel")
        if channel is None:
            raise BadCase(f"Case {case_id}: its masks are of {names}: name the channel to evaluate.", remedy)
        if not names:
            raise BadCase(f"Case {case_id}: it has one mask and no channel {channel}: name no channel.", remedy)
        raise BadCase(f"Case {case_id}: it has no channel {channel}, but {names}: name one of them, or none.", remedy)

    def map(self, what: str, mask: Path) -> Path | None:
        """Where the map of a kind, such as mean or probability, is that belongs to a mask, if there is one."""
        return None if self.run is None else self.run.map_beside(what, mask)

    def members(self, mask: Path) -> list[Path]:
        """Members by number: of member-001 and member-1000 the first is first."""
        return [] if self.run is None else list(self.run.members_beside(mask).values())

    def record(self) -> RunRecord | None:
        """What the run says of itself; None for a mask of any other origin.

        Raises
        ------
        BadCase
            If there is a record that cannot be read.
        """
        if self.run is None or not self.run.record.exists():
            return None
        return read_record_file(self.run.record)

    def _masks(self) -> dict[str, Path]:
        if self.run is not None:
            return self.run.masks()
        return {} if self.alone is None else {"": self.alone}

    def _word(self, channel: str) -> str:
        """A channel as it stands in file names; BIDS has no room for more than letters and digits."""
        return bids_word(channel) if isinstance(self.run, BidsRunFiles) else channel
