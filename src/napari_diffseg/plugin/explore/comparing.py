"""Compares two runs of the list: how alike their masks are, and a map of where they differ."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_diffseg.ensemble.summary import mean_of
from napari_diffseg.errors import BadRequest
from napari_diffseg.plugin.background.latest_only import raise_if
from napari_diffseg.plugin.canvas.add_layer import add_quietly
from napari_diffseg.plugin.canvas.color_bar import show_bar
from napari_diffseg.plugin.canvas.result_style import difference_style
from napari_diffseg.plugin.grid.frame import RESULT_KEY, Frame
from napari_diffseg.plugin.grid.same_case import are_same_case
from napari_diffseg.plugin.session.task import Task, Work

if TYPE_CHECKING:
    import threading

    import numpy.typing as npt
    from napari.components import ViewerModel

    from napari_diffseg.plugin.background.job import Job
    from napari_diffseg.plugin.background.mailbox import Mailbox
    from napari_diffseg.plugin.session.run_entry import RunEntry
    from napari_diffseg.plugin.session.session import Session
    from napari_diffseg.runs.stored_run import StoredRun


@dataclass(frozen=True, eq=False)
class Comparison:
    """What two runs have in common, all labels together, of their whole members.

    Attributes
    ----------
    dice : float
        Of the two majorities, in [0, 1].
    volumes_ml, only_ml : (float, float)
        Volume of each majority, and of what only that one holds.
    difference : ndarray, (X, Y, Z), float32
        Share of the first run's members that hold a voxel, less that of the second's.
    """

    dice: float
    volumes_ml: tuple[float, float]
    only_ml: tuple[float, float]
    difference: npt.NDArray[np.float32]


class Comparing:
    """Compares two runs by the files that they left, and shows where they differ.

    Parameters
    ----------
    viewer : ViewerModel or Viewer
        Gets the map.
    session : Session
        Reads the files in another thread.
    """

    def __init__(self, viewer: ViewerModel, session: Session) -> None:
        self._viewer, self._session = viewer, session

    def ask(self, first: RunEntry, second: RunEntry) -> None:
        """Compare two runs.

        Raises
        ------
        BadRequest
            If something else is going on, or they are of two cases.
        """
        self._session.check_free()
        if not are_same_case(first.plan.case, second.plan.case):
            raise BadRequest(f"{first.title} and {second.title} are of two cases: choose two runs of one case.")
        job = _job(first, second)
        self._session.begin(Task(job, Work.COMPARING, partial(self._show, first, second)))

    def _show(self, first: RunEntry, second: RunEntry, found: tuple[Comparison, Frame]) -> None:
        from napari.layers import Image

        comparison, frame = found
        attributes = frame.layer_attributes()
        attributes["metadata"] = {**attributes["metadata"], RESULT_KEY: first.layer_prefix}
        name = f"{first.layer_prefix} | mean - that of {second.number}"
        for layer in [layer for layer in self._viewer.layers if layer.name == name]:
            self._viewer.layers.remove(layer)
        style = difference_style() | attributes
        layer = Image(frame.to_display(comparison.difference), name=name, **style)
        layer.colorbar.position = "bottom_right"
        show_bar(layer)
        add_quietly(self._viewer, layer)
        self._session.message.emit(describe(comparison, first.number, second.number))


def describe(comparison: Comparison, first: int, second: int) -> str:
    """A comparison of two runs by their numbers, in a sentence."""
    (one, other), (only_one, only_other) = comparison.volumes_ml, comparison.only_ml
    return (
        f"Majorities of runs {first} and {second}: Dice {comparison.dice:.3f}; {one:.1f} and {other:.1f} ml, "
        f"of which {only_one:.1f} ml only in {first} (orange) and {only_other:.1f} ml only in {second} (blue)."
    )


def _job(first: RunEntry, second: RunEntry) -> Job:
    def job(_mailbox: Mailbox, stop: threading.Event) -> tuple[Comparison, Frame]:
        from napari_diffseg.runs.stored_run import read_run

        check = partial(raise_if, stop)
        one, other = (read_run(record.plan.folder, check_stop=check) for record in (first, second))
        return compare_runs(one, other), Frame.of_volume(one.grid)

    return job


def compare_runs(one: StoredRun, other: StoredRun) -> Comparison:
    """Hold two runs against each other.

    Parameters
    ----------
    one, other : StoredRun
        On the same voxels.

    Raises
    ------
    BadRequest
        If they are on different voxels.
    """
    from napari_diffseg.ensemble.dice import dice
    from napari_diffseg.imaging.volume import same_grid

    if not same_grid(one.grid, other.grid):
        raise BadRequest("The two runs are on different voxels: compare runs of one case.")
    shares = [_share(run) for run in (one, other)]
    masks = [share > 0.5 for share in shares]
    ml = one.grid.voxel_mm3 / 1000
    only: list[Any] = [masks[0] & ~masks[1], masks[1] & ~masks[0]]
    return Comparison(
        dice(masks[0], masks[1]),
        (float(masks[0].sum()) * ml, float(masks[1].sum()) * ml),
        (float(only[0].sum()) * ml, float(only[1].sum()) * ml),
        shares[0] - shares[1],
    )


def _share(run: StoredRun) -> npt.NDArray[np.float32]:
    """Share of the members that mark a voxel with any label, (X, Y, Z)."""
    votes = np.zeros(run.grid.shape, np.uint16)
    for member in run.members.values():
        votes += member.any(axis=0)
    return mean_of(votes, len(run.members))
