"""Keeps the forecast beside the sliders true to what is chosen, and learns from every run."""

from __future__ import annotations

import weakref
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from napari_diffseg.errors import DiffsegError
from napari_diffseg.imaging.memory_budget import free_memory
from napari_diffseg.plugin.session.forecast import Forecast, describe_forecast, forecast
from napari_diffseg.plugin.session.plan import slice_axis
from napari_diffseg.segmenting.rows import is_sampled_across

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt
    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_diffseg.events import SegmentRequest
    from napari_diffseg.plugin.background.mailbox import Timed
    from napari_diffseg.plugin.panel.remembered import Remembered
    from napari_diffseg.plugin.session.run_entry import RunEntry
    from napari_diffseg.plugin.session.run_plan import RunPlan
    from napari_diffseg.plugin.session.session import Session
    from napari_diffseg.plugin.widgets.settings_box import SettingsBox

_EVERY = 4
"""One pixel in so many along rows and columns is looked at for brain: a hole so small is none."""


class Forecasting:
    """Counts the slices that hold brain, and multiplies.

    A speed that a run has shown is remembered for the checkpoint and the settings that it depends on, the newest one
    counts; before there is one, the try that loading a checkpoint makes stands in for it.

    Parameters
    ----------
    viewer : ViewerModel or Viewer
        Its point says which slice "this slice" is.
    session : Session
        What is chosen.
    remembered : Remembered
        Keeps the speeds.
    box : SettingsBox
        Shows the forecast.
    """

    def __init__(self, viewer: ViewerModel, session: Session, remembered: Remembered, box: SettingsBox) -> None:
        self._viewer, self._session, self._remembered, self._box = viewer, session, remembered, box
        self._tried: dict[str, float] = {}
        self._brain = _Brain()
        session.changed.connect(self.update)
        session.checkpoint_loaded.connect(self.update)
        session.timed.connect(self._learn)

    def update(self) -> None:
        """Say what the run that is chosen now would cost; nothing while none is."""
        plan = self._plan()
        self._box.show_forecast("" if plan is None else self._words(plan))

    def _plan(self) -> RunPlan | None:
        session = self._session
        if not session.checkpoint_rows:
            return None
        point = self._viewer.dims.point if self._viewer.dims.ndim >= 3 else None
        try:
            return session.chosen.plan(session.recipe, point=point, runs_folder=session.store.root)
        except DiffsegError:  # the reason stands beside Run
            return None

    def _words(self, plan: RunPlan) -> str:
        return describe_forecast(self._cost(plan), free_bytes=free_memory())

    def _cost(self, plan: RunPlan) -> Forecast:
        recipe, request = self._session.recipe, plan.request
        return forecast(
            voxels=int(np.prod(next(iter(plan.case.volumes.values())).shape)),
            slices=self._slices(plan),
            members=request.members,
            timesteps=request.timesteps or recipe.timesteps,
            seconds_each=self._speed(self._key(plan.checkpoint, request)),
        )

    def _slices(self, plan: RunPlan) -> int:
        """Those of all members together, each in its plane."""
        recipe, request = self._session.recipe, plan.request
        first, volume = next(iter(plan.case.volumes.items()))
        look = partial(self._brain.slices, self._session.inputs[first], volume.data)
        along = slice_axis(volume, recipe.axis_codes[2])
        holds = look(along)
        each = int(holds[list(request.slice_indices(len(holds)))].sum())
        second, thickness = recipe.across, volume.spacing_mm[along]
        if second is None or not request.samples_second_plane(recipe, slices=len(holds), thickness_mm=thickness):
            return each * request.members
        over = slice_axis(volume, second.axis_codes[2])
        each_across = -(-int(look(over).sum()) // second.every(volume.spacing_mm[over]))
        across = sum(map(is_sampled_across, request.member_numbers))
        return each * (request.members - across) + each_across * across

    @property
    def seconds(self) -> float | None:
        """What the run that is chosen now will take; None where that is not known."""
        plan = self._plan()
        return None if plan is None else self._cost(plan).seconds

    def seconds_of(self, entry: RunEntry, members: Sequence[int]) -> float | None:
        """What members of a listed run, given by their numbers, will take; None where that is not known."""
        each = self._speed(_key(entry.plan.checkpoint, entry.plan.request))
        if each is None:
            return None
        started = entry.started
        across = sum(map(is_sampled_across, members)) if started.slices_across else 0
        slices = len(started.sampled) * (len(members) - across) + len(started.slices_across) * across
        return slices * started.timesteps * each

    def _key(self, checkpoint: str, request: SegmentRequest) -> str:
        where = self._session.computer
        return _key(checkpoint if where is None else f"{checkpoint} on {where.name}", request)

    def _speed(self, key: str) -> float | None:
        return self._remembered.speed_of(key) or self._tried.get(key)

    def _learn(self, timed: Timed) -> None:
        key = self._key(timed.checkpoint, timed.request)
        if timed.sampling:
            self._remembered.remember_speed(key, timed.seconds)
        else:
            self._tried[key] = timed.seconds
        self.update()


def _key(checkpoint: str, request: SegmentRequest) -> str:
    """What decides how long an evaluation takes."""
    values = (request.device, request.precision, request.batch_size, request.threads, request.reproducible)
    return "|".join([checkpoint, *map(str, values)])


class _Brain:
    """Which slices of a layer are not empty; looked at once an array and axis."""

    def __init__(self) -> None:
        self._known: weakref.WeakKeyDictionary[Layer, tuple[int, dict[int, npt.NDArray[np.bool_]]]] = (
            weakref.WeakKeyDictionary()
        )

    def slices(self, layer: Layer, data: npt.NDArray[np.generic], axis: int) -> npt.NDArray[np.bool_]:
        """For each slice of (X, Y, Z) data across `axis` whether it holds anything but 0."""
        known = self._known.get(layer)
        if known is None or known[0] != id(layer.data):
            known = self._known[layer] = id(layer.data), {}
        if axis not in known[1]:
            thin = np.moveaxis(data, axis, 0)[:, ::_EVERY, ::_EVERY]
            known[1][axis] = np.asarray((thin != 0).any(axis=(1, 2)))
        return known[1][axis]
