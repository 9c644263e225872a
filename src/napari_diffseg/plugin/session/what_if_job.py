"""The job that samples a slice once more with an image changed."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np

from napari_diffseg.events import Sampled, Stepped
from napari_diffseg.plugin.background.latest_only import raise_if
from napari_diffseg.plugin.background.mailbox import StatusMessage
from napari_diffseg.plugin.session.jobs import check_modalities, load
from napari_diffseg.plugin.session.tracing_job import narrowed

if TYPE_CHECKING:
    import threading

    import numpy.typing as npt

    from napari_diffseg.plugin.background.job import Job
    from napari_diffseg.plugin.background.mailbox import Mailbox
    from napari_diffseg.plugin.session.jobs import LoadEngine
    from napari_diffseg.plugin.session.run_plan import RunPlan
    from napari_diffseg.segmenting.what_if import Change


def what_if_job(
    load_engine: LoadEngine, plan: RunPlan, change: Change, *, slice_index: int, members: tuple[int, ...]
) -> Job:
    """Sample some members of one slice of a changed case; the result is their masks (K, U, V), of the first label.

    Parameters
    ----------
    load_engine : LoadEngine
        Loads the plan's checkpoint.
    plan : RunPlan
        The run.
    change : Change
        What is done to its case.
    slice_index : int
        The source slice.
    members : tuple of int
        Their numbers, K of them, increasing; none that was sampled in slices of a second plane, as a changed one would
        take the whole volume.
    """

    def job(mailbox: Mailbox, stop: threading.Event) -> npt.NDArray[np.bool_]:
        mailbox.put(StatusMessage("Preparing…"))
        engine = load(load_engine, plan.checkpoint, plan.overrides, mailbox, stop)
        check_modalities(plan, engine)
        request = narrowed(plan.request, slice_index=slice_index, members=members, second_plane="off")
        found: dict[int, npt.NDArray[np.bool_]] = {}
        with closing(engine.segmenter.what_if(plan.case, request, change)) as events:
            for event in events:
                if isinstance(event, Sampled):
                    found[event.member] = event.mask[0, 0]
                elif isinstance(event, Stepped):
                    mailbox.put(StatusMessage(f"What if: step {event.step + 1} of {event.steps}…"))
                raise_if(stop)
        return np.stack([found[k] for k in members])

    return job
