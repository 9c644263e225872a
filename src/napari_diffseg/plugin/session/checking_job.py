"""The job that tries whether a checkpoint is read as it was trained, on the images and a reference of the screen."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from napari_diffseg.errors import BadRequest
from napari_diffseg.plugin.background.latest_only import raise_if
from napari_diffseg.plugin.background.mailbox import StatusMessage
from napari_diffseg.plugin.session.jobs import check_modalities, load
from napari_diffseg.remote.segmenter import RemoteCheckpoint

if TYPE_CHECKING:
    import threading

    from napari_diffseg.checkpoint import Checkpoint
    from napari_diffseg.imaging.volume import Volume
    from napari_diffseg.plugin.background.job import Job
    from napari_diffseg.plugin.background.mailbox import Mailbox
    from napari_diffseg.plugin.session.jobs import LoadEngine
    from napari_diffseg.plugin.session.run_plan import RunPlan
    from napari_diffseg.segmenting.self_test import Verdict


def check_job(load_engine: LoadEngine, plan: RunPlan, reference: Volume) -> Job:
    """Try other readings of a checkpoint's recipe; the result is the `Verdict`. A stop is answered after a reading.

    Parameters
    ----------
    load_engine : LoadEngine
        Loads the plan's checkpoint.
    plan : RunPlan
        What a run would be made of now.
    reference : Volume
        The mask that somebody drew, on the plan's grid.
    """

    def job(mailbox: Mailbox, stop: threading.Event) -> Verdict:
        mailbox.put(StatusMessage("Preparing…"))
        engine = load(load_engine, plan.checkpoint, plan.overrides, mailbox, stop)
        check_modalities(plan, engine)
        if isinstance(engine.checkpoint, RemoteCheckpoint):
            raise BadRequest("A checkpoint is checked in this process only: choose 'this computer' under Compute.")
        from napari_diffseg.segmenting.self_test import check_checkpoint

        case = replace(plan.case, reference=reference)
        began = time.monotonic()
        with closing(
            check_checkpoint(cast("Checkpoint", engine.checkpoint), case, device=plan.request.device)
        ) as readings:
            while True:
                raise_if(stop)
                try:
                    at = next(readings)
                except StopIteration as ended:
                    return ended.value  # type: ignore[no-any-return]
                left = (time.monotonic() - began) / at.done * (at.total - at.done)
                mailbox.put(
                    StatusMessage(f"Checking: reading {at.done} of at most {at.total}, at most {left:.0f} s left…")
                )

    return job
