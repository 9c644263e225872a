"""The job that samples a slice once more and keeps the steps."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from napari_diffseg.events import make_request
from napari_diffseg.plugin.background.latest_only import raise_if
from napari_diffseg.plugin.background.mailbox import StatusMessage
from napari_diffseg.plugin.session.jobs import check_modalities, load

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterable, Iterator

    from napari_diffseg.events import SecondPlaneName, SegmentRequest
    from napari_diffseg.plugin.background.job import Job
    from napari_diffseg.plugin.background.mailbox import Mailbox
    from napari_diffseg.plugin.session.jobs import LoadEngine
    from napari_diffseg.plugin.session.run_plan import RunPlan
    from napari_diffseg.segmenting.trajectory import Traced, Trajectory


def trace_job(
    load_engine: LoadEngine,
    plan: RunPlan,
    *,
    slice_index: int,
    members: tuple[int, ...],
    members_across: tuple[int, ...] = (),
) -> Job:
    """Sample some members of one slice of a run again, step by step; the result is their `Trajectory`, or None.

    Parameters
    ----------
    load_engine : LoadEngine
        Loads the plan's checkpoint.
    plan : RunPlan
        The run.
    slice_index : int
        The source slice.
    members : tuple of int
        Their numbers, increasing; those between the first and the last come, too.
    members_across : tuple of int
        Members of the run that were sampled in slices of a second plane: they have no steps on this slice, and none of
        them comes.
    """
    second_plane: SecondPlaneName = "on" if members_across else "off"

    def job(mailbox: Mailbox, stop: threading.Event) -> Trajectory | None:
        from napari_diffseg.segmenting.trajectory import record_trajectory

        mailbox.put(StatusMessage("Preparing…"))
        engine = load(load_engine, plan.checkpoint, plan.overrides, mailbox, stop)
        check_modalities(plan, engine)
        request = narrowed(plan.request, slice_index=slice_index, members=members, second_plane=second_plane)
        recorded = tuple(k for k in request.member_numbers if k not in members_across)
        with closing(engine.segmenter.trace(plan.case, request)) as traced:
            steps = _told(traced, mailbox, stop)
            return record_trajectory(steps, members=recorded, slice_index=slice_index)

    return job


def narrowed(
    request: SegmentRequest, *, slice_index: int, members: tuple[int, ...], second_plane: SecondPlaneName
) -> SegmentRequest:
    """The settings of a run for one of its slices, and for its members from the first to the last of those given.

    Left to the checkpoint, `second_plane` would be another one for a slice than for the volume.
    """
    wanted = {
        "first_member": members[0],
        "members": members[-1] - members[0] + 1,
        "slices": f"{slice_index}:{slice_index + 1}",
        "focus": None,
        "second_plane": second_plane,
    }
    return make_request(request.model_dump() | wanted)


def _told(traced: Iterable[Traced], mailbox: Mailbox, stop: threading.Event) -> Iterator[Traced]:
    """The same steps, told of as they come; ends when it is asked to."""
    for event in traced:
        yield event
        mailbox.put(StatusMessage(f"Recording member {event.rows[-1][0] + 1}: step {event.step} of {event.steps}…"))
        raise_if(stop)
