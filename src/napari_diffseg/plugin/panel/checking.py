"""Checks the chosen checkpoint on the images and the reference on the screen, and offers the reading that fits best."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from napari_diffseg.errors import BadRequest
from napari_diffseg.plugin.grid.reference import on_grid_of
from napari_diffseg.plugin.session.checking_job import check_job
from napari_diffseg.plugin.session.task import Task, Work

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.layers import Layer

    from napari_diffseg.plugin.session.session import Session
    from napari_diffseg.plugin.widgets.checkpoint_box import CheckpointBox
    from napari_diffseg.segmenting.self_test import Verdict


class Checking:
    """Starts a check, shows what it found, and loads the checkpoint again as it fits best where that is wanted.

    Parameters
    ----------
    session : Session
        Has the checkpoint and the images, and does the work in another thread.
    box : CheckpointBox
        Asks, and shows the answer.
    reference : callable
        The layer that somebody drew, or None.
    attempt : callable
        Does what it is given, and says why where that cannot be done.
    """

    def __init__(
        self,
        session: Session,
        box: CheckpointBox,
        *,
        reference: Callable[[], Layer | None],
        attempt: Callable[[Callable[[], None]], None],
    ) -> None:
        self._session, self._box, self._reference = session, box, reference
        box.check_asked.connect(lambda: attempt(self._start))
        box.reading_wanted.connect(self._use)

    def _start(self) -> None:
        self._session.check_can_sample()
        layer = self._reference()
        if layer is None:
            raise BadRequest("There is no reference to check with: choose one under Compare with ground truth.")
        chosen = self._session.chosen
        plan = chosen.plan(self._session.recipe, point=None, runs_folder=self._session.store.root)
        drawn = np.asarray(on_grid_of(plan.frame, layer))
        reference = replace(plan.frame.volume, data=drawn.astype(np.uint16), path=None)
        job = check_job(self._session.load_engine, plan, reference)
        self._session.begin(Task(job, Work.CHECKING, partial(self._show, chosen.checkpoint)))

    def _show(self, checkpoint: str, verdict: Verdict) -> None:
        if checkpoint != self._session.chosen.checkpoint:
            return  # another has been chosen since
        self._session.message.emit("The checkpoint is checked.")
        best = dict(verdict.best.changes) if verdict.fits else {}
        self._box.show_verdict(verdict.rows(), verdict.ranking(), best)

    def _use(self, changes: dict[str, object]) -> None:
        chosen = self._session.chosen
        self._session.choose_checkpoint(chosen.checkpoint, {**chosen.overrides, **changes})
