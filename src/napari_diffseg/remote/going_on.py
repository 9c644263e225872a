"""A run that goes on after its link was lost: what arrived stays, and only what is missing is sampled again."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from napari_diffseg.events import Expected, Finished, Refined, Sampled, Started, Stepped
from napari_diffseg.segmenting.trajectory import Traced

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_diffseg.events import SegmentRequest
    from napari_diffseg.remote.event_messages import Event


class Arrived:
    """What has arrived of a run, over however many links; gives its events as those of one run.

    A member's noise is a function of seed, member and slice, so what another engine samples anew is the same mask.

    Parameters
    ----------
    request : SegmentRequest
        Of the whole run.
    """

    def __init__(self, request: SegmentRequest) -> None:
        self._request = request
        self._started: Started | None = None
        self._id = ""
        self._masks: set[tuple[int, int]] = set()
        self._traced: set[tuple[int, int, int]] = set()
        self._expected: set[int] = set()
        self._refined: set[int] = set()
        self._done = self._before = self._skipped = 0
        self._began = time.monotonic()

    def remaining(self) -> SegmentRequest:
        """The request without the members, from the first on, that have arrived whole."""
        self._skipped = 0
        if self._started is not None:
            for member in self._request.member_numbers[:-1]:
                if not all((member, s) in self._masks for s in self._started.sampled):
                    break
                self._skipped += 1
        changes = {
            "first_member": self._request.first_member + self._skipped,
            "members": self._request.members - self._skipped,
        }
        return self._request.model_copy(update=changes)

    def take(self, event: Event) -> Iterator[Event]:
        """The event as one of the whole run; nothing where it is known already."""
        if not isinstance(event, Traced):
            self._id = self._id or event.run_id
        match event:
            case Started():
                if self._started is None:
                    self._started = event
                    yield event
                self._before = self._started.evaluations - event.evaluations
            case Stepped():
                self._done = max(self._done, self._before + event.done)
                yield replace(event, run_id=self._id, done=self._done)
            case Expected() | Refined() if not self._skipped:
                known = self._expected if isinstance(event, Expected) else self._refined
                if not known.issuperset(event.slices):
                    known.update(event.slices)
                    yield replace(event, run_id=self._id)
            case Sampled():
                yield from self._new(event)
            case Traced():
                yield from self._new_rows(event)
            case Finished():
                seconds = event.seconds if not self._before else time.monotonic() - self._began
                yield replace(event, run_id=self._id, members=self._request.member_numbers, seconds=seconds)

    def _new(self, event: Sampled) -> Iterator[Sampled]:
        """The slices of a member that had not arrived."""
        new = [i for i, s in enumerate(event.slices) if (event.member, s) not in self._masks]
        if not new and event.slices:
            return
        slices = tuple(event.slices[i] for i in new)
        self._masks.update((event.member, s) for s in slices)
        mask = event.mask if len(new) == len(event.slices) else event.mask[:, new]
        yield replace(event, run_id=self._id, slices=slices, mask=mask)

    def _new_rows(self, event: Traced) -> Iterator[Traced]:
        """The rows of a step that had not arrived; each row's steps come in their order, from every engine."""
        steps = [(event.step, *row) for row in event.rows]
        new = [i for i, step in enumerate(steps) if step not in self._traced]
        if not new:
            return
        self._traced.update(steps)
        rows = tuple(event.rows[i] for i in new)
        yield replace(event, rows=rows, evidence=event.evidence[new], mask=event.mask[new])
