"""What the members say of the voxel under the cursor: in napari's status bar, and to whoever listens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from psygnal import Signal

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
    """The votes in words, such as `7 of 10 members; variance 0.23; expected 0.71`; empty where there are none."""

    def __init__(self, viewer: ViewerModel, results: ResultLayers) -> None:
        self._viewer = viewer
        self._results = results
        self._completed: Any = None
        self._told = ""
        viewer.events.status.connect(self._complete)

    def close(self) -> None:
        """Leave napari's status as it is from now on."""
        self._viewer.events.status.disconnect(self._complete)

    def _complete(self, event: Any) -> None:
        if event.value == self._completed:  # our own, which napari tells of later
            return
        words = self._words()
        if words != self._told:
            self._told = words
            self.told.emit(words)
        if words:
            self._completed = _with_words(event.value, words)
            self._viewer.status = self._completed

    def _words(self) -> str:
        view = self._results.view
        if view is None or self._viewer.dims.ndisplay == 3 or not self._viewer.mouse_over_canvas:
            return ""
        return describe_point(view, self._viewer.cursor.position)


def describe_point(view: ResultView, point: tuple[float, ...]) -> str:
    """The votes at a point of napari's world in words; empty outside the volume and on slices that were not asked.

    What the run expects there, the mean of very many members, follows where it is known.
    """
    voxel = view.voxel_at(point)
    voted = view.votes_at(voxel) if voxel is not None else None
    if voxel is None or voted is None:
        return ""
    votes, count = voted
    labels = view.started.labels
    expected = view.ensemble.expected
    shares = None if expected is None else expected.at(voxel)
    words = [describe_votes(v, count, view.summary, mean=m) for v, m in zip(votes, view.means_at(voxel), strict=True)]
    if shares is not None:
        words = [f"{said}; expected {share:.2f}" for said, share in zip(words, shares, strict=True)]
    if len(labels) == 1:
        return words[0]
    return ", ".join(f"{label}: {said}" for label, said in zip(labels, words, strict=True))


def describe_votes(votes: int, count: int, summary: Summary, *, mean: float | None = None) -> str:
    """`votes` of `count` members in words, with the uncertainty that `summary` gives them and its unit.

    Where a voxel's neighbourhood votes, too, the mean of all, which decides on mask and uncertainty, is said.
    """
    if count == 0:
        return "no member yet"
    words = f"{votes} of {count} member{'s' if count > 1 else ''}"
    if count == 1:
        return words  # one member cannot disagree
    measure = summary.measure
    if mean is not None:
        words = f"{words}; mean {mean:.2f}"
    value = float(summary.uncertainty(np.array([votes if mean is None else mean * count]), count)[0])
    return f"{words}; {measure.value} {value:.2f}{f' {measure.unit}' if measure.unit else ''}"


def _with_words(status: Any, words: str) -> Any:
    """Napari's status, a text or a mapping of texts, with ours at its end."""
    if isinstance(status, str):
        return f"{status}{_SEPARATOR}{words}"
    return {**status, "coordinates": f"{status['coordinates']}{_SEPARATOR}{words}"}
