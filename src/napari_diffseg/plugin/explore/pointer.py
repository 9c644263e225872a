"""What the members say of the voxel under the cursor: in napari's status bar, and to whoever listens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from psygnal import Signal

from napari_diffseg.ensemble.summary import Measure

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_diffseg.ensemble.summary import Summary
    from napari_diffseg.plugin.layers.result_layers import ResultLayers
    from napari_diffseg.plugin.layers.result_view import ResultView

_SEPARATOR = "  |  "


class Pointer:
    """Adds the votes on the voxel under the cursor to what napari says of it, whichever layer is selected.

    napari works the status out in a thread of its own and then sets it in the GUI thread; there it is completed here.

    Parameters
    ----------
    viewer : ViewerModel or Viewer
        Whose status and cursor are used.
    results : ResultLayers
        What is on the screen.
    """

    told: ClassVar[Signal] = Signal(str)
    """In words, such as `votes 3/5; probability 0.62; variance 0.30; one-step 0.71`; empty where there are no votes."""

    def __init__(self, viewer: ViewerModel, results: ResultLayers) -> None:
        self._viewer = viewer
        self._results = results
        self._completed: Any = None
        self._plain: Any = None
        """What napari's status was before our words."""
        self._told = ""
        viewer.events.status.connect(self._complete)

    def close(self) -> None:
        """Leave napari's status as it is from now on."""
        self._viewer.events.status.disconnect(self._complete)

    def refresh(self) -> None:
        """Say what the voxel under the cursor has now: members have come, or they are summed up in another way."""
        words = self._words() if self._told else ""
        if words == self._told:
            return
        self._told = words
        self.told.emit(words)
        if self._completed is not None and self._viewer.status == self._completed:
            self._completed = _with_words(self._plain, words) if words else None
            self._viewer.status = self._completed or self._plain

    def forget(self) -> None:
        """Another result is on the screen, or none: what was read of the one before is said no longer."""
        if self._told:
            self._told = ""
            self.told.emit("")
        if self._completed is not None and self._viewer.status == self._completed:
            self._viewer.status = self._plain
        self._completed = None

    def _complete(self, event: Any) -> None:
        if event.value == self._completed:  # our own, which napari tells of later
            return
        words = self._words()
        if words != self._told:
            self._told = words
            self.told.emit(words)
        if words:
            self._plain, self._completed = event.value, _with_words(event.value, words)
            self._viewer.status = self._completed

    def _words(self) -> str:
        view = self._results.view
        if view is None or self._viewer.dims.ndisplay == 3 or not self._viewer.mouse_over_canvas:
            return ""
        return describe_point(view, self._viewer.cursor.position)


def describe_point(view: ResultView, point: tuple[float, ...]) -> str:
    """The votes at a point of napari's world in words; empty outside the volume.

    The one-step estimate follows where the run has one.
    """
    voxel = view.voxel_at(point)
    if voxel is None:
        return ""
    voted = view.votes_at(voxel)
    if voted is None or not view.is_in_window(voxel):
        return "not sampled: outside the scope"
    votes, count = voted
    labels = view.started.labels
    expected = view.ensemble.expected
    shares = None if expected is None else expected.at(voxel)
    known = zip(votes, view.probabilities_at(voxel), strict=True)
    words = [describe_votes(v, count, view.summary, probability=p) for v, p in known]
    if shares is not None:
        words = [f"{said}; one-step {share:.2f}" for said, share in zip(words, shares, strict=True)]
    if len(labels) == 1:
        return words[0]
    return ", ".join(f"{label}: {said}" for label, said in zip(labels, words, strict=True))


def describe_votes(votes: int, count: int, summary: Summary, *, probability: float | None = None) -> str:
    """`votes` of `count` members in words, the smoothed probability, and the uncertainty by `summary` with its unit."""
    if count == 0:
        return "no member yet"
    words = f"votes {votes}/{count}"
    if probability is not None:
        words = f"{words}; probability {probability:.2f}"
    if count == 1:
        return words  # one member cannot disagree
    measure = summary.measure
    p = None if probability is None else np.array([probability], np.float32)
    value = float(summary.uncertainty(np.array([votes]), count, p)[0])
    name = "p (1 - p)" if measure is Measure.PROBABILITY else measure.value
    return f"{words}; {name} {value:.2f}{f' {measure.unit}' if measure.unit else ''}"


def _with_words(status: Any, words: str) -> Any:
    """Napari's status, a text or a mapping of texts, with ours at its end."""
    if isinstance(status, str):
        return f"{status}{_SEPARATOR}{words}"
    return {**status, "coordinates": f"{status['coordinates']}{_SEPARATOR}{words}"}
