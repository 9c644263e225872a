"""Which slice of the file is on the screen, beside the line that asks for a range of them.

napari's slider counts in the direction of the world, a file in its own: of a head that is stored from the feet up, the
slider's first slice is the file's last one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_diffseg.errors import DiffsegError
from napari_diffseg.plugin.grid.layer_volume import frame_of_layer
from napari_diffseg.plugin.session.plan import slice_axis

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_diffseg.plugin.session.session import Session
    from napari_diffseg.plugin.widgets.scope_row import ScopeRow


class SliceHere:
    """Keeps the number true to the slice on the screen, while it is in sight.

    Parameters
    ----------
    viewer : ViewerModel or Viewer
        Shows the slice.
    session : Session
        Has the images, and the axis that the checkpoint's slices run along.
    row : ScopeRow
        Shows the number.
    """

    def __init__(self, viewer: ViewerModel, session: Session, row: ScopeRow) -> None:
        self._viewer, self._session, self._row = viewer, session, row
        viewer.dims.events.current_step.connect(self.follow)
        session.changed.connect(self.follow)

    def follow(self, _event: object = None) -> None:
        """Another slice is on the screen, or something else was chosen."""
        if not self._row.asks_for_range:
            return
        session, dims = self._session, self._viewer.dims
        layer = next((session.inputs[name] for name in session.recipe.modalities if name in session.inputs), None)
        if layer is None or dims.ndim < 3:
            self._row.show_here(None)
            return
        try:
            self._row.show_here(source_slice(layer, dims.point, direction=session.recipe.axis_codes[2]))
        except DiffsegError:  # the reason stands beside Run
            self._row.show_here(None)

    def close(self) -> None:
        """Leave the viewer alone from now on."""
        self._viewer.dims.events.current_step.disconnect(self.follow)


def source_slice(layer: Layer, point: Sequence[float], *, direction: str) -> int:
    """The slice of a layer's file, from 0, that is nearest to a point.

    Parameters
    ----------
    layer : Layer
        A single three-dimensional image.
    point : sequence of float
        In world coordinates; of more than three, the last three.
    direction : str
        One of L R A P S I: the slices run nearest to it, or against it.

    Raises
    ------
    BadImage
        If the layer cannot be an input.
    """
    frame = frame_of_layer(layer)
    voxel = [float(x) for x in layer.world_to_data(tuple(point)[-3:])]
    return frame.source_index(voxel, slice_axis(frame.volume, direction))
