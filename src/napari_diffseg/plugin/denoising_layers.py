"""The layers of one slice's way through the denoising steps: what a step predicts, and when a pixel was decided."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_diffseg.plugin.adding import add_quietly, is_there
from napari_diffseg.plugin.frame import METADATA_KEY
from napari_diffseg.plugin.result_layers import RESULT_KEY
from napari_diffseg.plugin.result_style import decided_style, live_style

if TYPE_CHECKING:
    import numpy.typing as npt
    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_diffseg.plugin.result_view import ResultView
    from napari_diffseg.segmenting.trajectory import Trajectory


class DenoisingLayers:
    """Two slabs at the place of the slice, of which one is in sight; the same two serve all recordings.

    Parameters
    ----------
    viewer : ViewerModel or Viewer
        Where they go, when there is something to show.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._prediction: Layer | None = None
        self._decided: Layer | None = None

    def show_prediction(self, view: ResultView, trajectory: Trajectory, *, place: int, member: int | None) -> None:
        """Show what a kept step predicts, of one member or as a mean, instead of the other map."""
        plane = trajectory.prediction(place, member=member)
        style = live_style() | {"name": f"{view.prefix} | denoising"}
        self._prediction = self._show(self._prediction, _slab(view, trajectory, plane), style)
        _hide(self._decided)

    def show_decided(self, view: ResultView, trajectory: Trajectory, *, member: int | None) -> None:
        """Show at which step each pixel was decided, of one member or as a mean, instead of the other map."""
        plane = trajectory.decided_at(member=member)
        style = decided_style(trajectory.steps) | {"name": f"{view.prefix} | decided at step"}
        self._decided = self._show(self._decided, _slab(view, trajectory, plane), style)
        _hide(self._prediction)

    def hide(self) -> None:
        """Take both out of sight."""
        _hide(self._prediction)
        _hide(self._decided)

    def _show(self, layer: Layer | None, slab: dict[str, Any], style: dict[str, Any]) -> Layer:
        """A layer with this slab; made anew only where the user has removed it, or its grid is another."""
        if layer is not None and is_there(self._viewer, layer):
            for name in ("data", "scale", "translate", "affine", "metadata"):
                setattr(layer, name, slab[name])
            layer.contrast_limits_range = layer.contrast_limits = style["contrast_limits"]
            layer.name, layer.visible = style["name"], True
            return layer
        from napari.layers import Image

        made = Image(**slab, **style | {"visible": True})
        made.colorbar.visible = True
        made.name_overlay.position = made.colorbar.position
        made.name_overlay.visible = True
        add_quietly(self._viewer, made)
        return made


def _slab(view: ResultView, trajectory: Trajectory, plane: npt.NDArray[np.float32]) -> dict[str, Any]:
    """A plane (U, V) as layer data with its place, on the slice that was recorded."""
    axis = view.started.slice_axis
    return {
        **view.frame.layer_attributes(),
        **view.frame.placement(view.frame.slab_offset(axis, trajectory.slice_index)),
        "metadata": {METADATA_KEY: view.frame, RESULT_KEY: view.prefix},
        "data": view.frame.to_display(np.expand_dims(plane, axis)),
    }


def _hide(layer: Layer | None) -> None:
    if layer is not None:
        layer.visible = False
