"""Compares the result on the screen with a reference, in another thread; no widget, so a test can drive it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt
from psygnal import Signal

from napari_diffseg.errors import DiffsegError
from napari_diffseg.plugin.background.latest_only import LatestOnly, job_of, raise_if
from napari_diffseg.plugin.grid.reference import on_grid_of
from napari_diffseg.plugin.widgets.reference_box import Judged

if TYPE_CHECKING:
    import threading

    from napari.layers import Layer

    from napari_diffseg.ensemble.summary import Summary
    from napari_diffseg.ensemble.whole_members import WholeMembers
    from napari_diffseg.plugin.background.latest_only import Launcher
    from napari_diffseg.plugin.layers.result_view import ResultView


@dataclass(frozen=True, eq=False)
class _Asked:
    """What a judgement needs, as of the moment it was asked for."""

    members: WholeMembers
    drawn: npt.NDArray[Any]
    summary: Summary
    view: ResultView
    edited: npt.NDArray[np.bool_] | None


class Judging:
    """How good the mask on the screen is, as soon as it is known.

    Parameters
    ----------
    launch : callable (target, stop)
        Runs `target()`, which never raises, in another thread.
    """

    judged: ClassVar[Signal] = Signal(object)
    """A Judged; None when there is nothing to hold against each other any more."""
    failed: ClassVar[Signal] = Signal(str)
    """The sentence of an error."""

    def __init__(self, *, launch: Launcher) -> None:
        self.latest = LatestOnly(launch=launch)
        """What is being worked out; who listens polls it."""
        self.latest.answered.connect(self.judged.emit)
        self.latest.failed.connect(self.failed.emit)

    @property
    def is_busy(self) -> bool:
        """Whether `poll` has to be called again."""
        return self.latest.is_busy

    def ask(self, view: ResultView | None, layer: Layer | None, *, at_once: bool = True) -> None:
        """Hold the whole members of a result, as they are now, against a layer; without either, forget.

        Of a run with several regions the one that is chosen counts, of the layer by its labels; so does the only region
        of a run that is a part of a tumour, such as tumour core; else all labels together count as lesion, of the layer
        as of the members. Slices that the run was not asked for count as right.
        """
        members = view.ensemble.whole_members(first=view.first) if view is not None else None
        if view is None or layer is None or members is None or not members.members:
            self.forget()
            return
        try:
            drawn = on_grid_of(view.frame, layer)
        except DiffsegError as err:
            self.forget()
            self.failed.emit(str(err))
            return
        asked = _Asked(members, drawn, view.summary, view, view.corrected())
        self.latest.ask(job_of(partial(_judge, asked)), at_once=at_once)

    def forget(self) -> None:
        """Nobody wants to know any more."""
        self.latest.forget()
        self.judged.emit(None)

    def poll(self) -> None:
        """Take the judgement in when it is there."""
        self.latest.poll()

    def close(self) -> None:
        """End for good: nothing more is heard."""
        self.latest.forget()


def _judge(asked: _Asked, stop: threading.Event) -> Judged:
    from napari_diffseg.ensemble.consensus import consensus_of
    from napari_diffseg.ensemble.smoothing import Smoothing
    from napari_diffseg.ensemble.summary import Rule
    from napari_diffseg.ensemble.window import inside_of
    from napari_diffseg.evaluation.metrics.judgement import judge
    from napari_diffseg.extras import has_extra

    members = replace(asked.members, before_read=partial(raise_if, stop))
    covered = _covered(members) & inside_of(asked.view.started.window, members.source_shape, members.slice_axis)
    reference = _reference_of(asked) & covered
    by_label, votes, member_dice = _counted(members, reference, asked.view)
    count = len(members.members)
    volumes = (members.member(k) for k in members.members)
    smoothing = Smoothing.of_run(asked.view.started, asked.summary.smoothing_mm, refined=asked.summary.refined)
    summary = asked.summary.of_run(asked.view.started)
    smooth = partial(
        smoothing.on_volume,
        count=count,
        slice_axis=members.slice_axis,
        slices=members.slices,
    )
    expected, region = members.expected, asked.view.region
    of_region = expected if expected is None or region is None else expected.of_region(region)
    by_probability = smooth(by_label, expected=expected) if summary.rule is Rule.PROBABILITY else None
    masks = consensus_of(
        volumes,
        votes=by_label,
        count=count,
        summary=summary,
        regions=asked.view.started.regions,
        probability=by_probability,
    )
    raise_if(stop)
    judgement = judge(
        asked.view.lesion_of(masks) if asked.edited is None else asked.edited,
        reference,
        votes=votes,
        probability=smooth(votes[None], expected=of_region)[0],
        count=count,
        covered=covered,
        spacing_mm=asked.view.frame.volume.spacing_mm,
        voxel_mm3=asked.view.voxel_mm3,
        with_distance=has_extra("evaluation"),
    )
    return Judged(judgement, member_dice, asked.view, "members' mean" if smoothing.is_none else "smoothed probability")


def _reference_of(asked: _Asked) -> npt.NDArray[np.bool_]:
    """What the layer marks, of the region that is measured by the labels that it has there."""
    regions, region = asked.view.started.regions, asked.view.region
    if region is None and len(regions) > 1:
        return np.asarray(asked.drawn > 0)
    from napari_diffseg.errors import BadRequest
    from napari_diffseg.evaluation.cases.regions import labels_in, regions_drawn

    values = labels_in(asked.drawn)
    region = 0 if region is None else region
    try:
        drawn = regions_drawn(regions, values)[region]
    except BadRequest as err:
        whole = "all regions, or " if len(regions) > 1 else ""
        raise BadRequest(
            f"The reference has the labels {', '.join(map(str, sorted(values)))}, which do not tell "
            f"{regions[region].name}: choose {whole}a reference with the labels of BraTS."
        ) from err
    return np.asarray(np.isin(asked.drawn, drawn.values) if drawn.values else asked.drawn > 0)


def _counted(
    members: WholeMembers, reference: npt.NDArray[np.bool_], view: ResultView
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], dict[int, float]]:
    """Votes by label and for what is measured, and the Dice of each member by its number."""
    from napari_diffseg.ensemble.dice import dice

    by_label: npt.NDArray[np.int32] | int = 0
    votes = np.zeros(members.source_shape, np.int32)
    member_dice = {}
    for k in members.members:
        volume = members.member(k)
        lesion = view.lesion_of(volume)
        by_label = by_label + volume.astype(np.int32)
        votes += lesion
        member_dice[k] = dice(lesion, reference)
    return np.asarray(by_label), votes, member_dice


def _covered(members: WholeMembers) -> npt.NDArray[np.bool_]:
    """Slices that the run was asked for, as an array that broadcasts to the volume."""
    axis = members.slice_axis
    along = np.zeros(members.source_shape[axis], np.bool_)
    along[list(members.slices)] = True
    return along.reshape([-1 if a == axis else 1 for a in range(3)])
