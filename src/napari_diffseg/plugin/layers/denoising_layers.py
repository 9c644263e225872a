"""The layers of one slice's way through the denoising steps: what a step predicts, and when a pixel was decided."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_diffseg.plugin.canvas.result_style import decided_style, live_style
from napari_diffseg.plugin.layers.slice_map import SliceMapLayer

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_diffseg.plugin.layers.result_view import ResultView
    from napari_diffseg.segmenting.trajectory import Trajectory


class DenoisingLayers:
    """Two slabs at the place of the slice, of which one is in sight; the same two serve all recordings.

    Parameters
    ----------
    viewer : ViewerModel or Viewer
        Where they go, when there is something to show.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self._prediction, self._decided = SliceMapLayer(viewer), SliceMapLayer(viewer)

    def show_prediction(self, view: ResultView, trajectory: Trajectory, *, place: int, member: int | None) -> None:
        """Show what a kept step predicts, of one member or as a mean, instead of the other map."""
        plane = trajectory.prediction(place, member=member)
        self._prediction.show(view, trajectory.slice_index, plane=plane, name="denoising", style=live_style())
        self._decided.hide()

    def show_decided(self, view: ResultView, trajectory: Trajectory, *, member: int | None) -> None:
        """Show at which step each pixel was decided, of one member or as a mean, instead of the other map."""
        plane, style = trajectory.decided_at(member=member), decided_style(trajectory.steps)
        self._decided.show(view, trajectory.slice_index, plane=plane, name="decided at step", style=style)
        self._prediction.hide()

    def hide(self) -> None:
        """Take both out of sight."""
        self._prediction.hide()
        self._decided.hide()
