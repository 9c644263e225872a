"""Lines around what a share of the members holds, on the slice on the screen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from napari_diffseg.appearance import AGREEMENT
from napari_diffseg.plugin.canvas.add_layer import add_quietly, is_there
from napari_diffseg.plugin.grid.frame import RESULT_KEY

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_diffseg.plugin.layers.result_view import ResultView

NAME: Final = "diffseg | agreement"
_WIDTH: Final = 0.4
"""Of the lines, in voxels."""


class Contours:
    """One layer of lines for all runs and slices; it follows the slice on the screen, whichever plane that is.

    Lines are drawn as vectors, not as shapes: napari triangulates shapes whenever they change, which takes longer than
    scrolling to the next slice.

    Parameters
    ----------
    viewer : ViewerModel or Viewer
        Gets the layer when there is something to draw for the first time.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._layer: Layer | None = None

    def draw(self, view: ResultView | None) -> None:
        """Draw the lines of a result on the slice on the screen; None, and 3-D, draw nothing."""
        if view is None or self._viewer.dims.ndisplay == 3:
            self._hide()
            return
        vectors, colors = _lines(self._viewer, view)
        if self._layer is None or not is_there(self._viewer, self._layer):
            self._layer = self._add(view)
        layer: Any = self._layer
        for name, value in view.frame.placement().items():
            if not np.array_equal(np.asarray(getattr(layer, name)), value):
                setattr(layer, name, value)
        layer.visible = True  # before its data: napari does not slice what is hidden, nor count its colours
        layer.data = vectors
        if len(colors):
            layer.edge_color = colors

    def _hide(self) -> None:
        if self._layer is not None:
            self._layer.visible = False

    def _add(self, view: ResultView) -> Layer:
        from napari.layers import Vectors

        attributes = view.frame.layer_attributes()
        attributes["metadata"] = {**attributes["metadata"], RESULT_KEY: NAME}
        layer = Vectors(
            np.zeros((0, 2, 3)), name=NAME, edge_width=_WIDTH, vector_style="line", opacity=1.0, **attributes
        )
        add_quietly(self._viewer, layer)
        return layer


def _lines(viewer: ViewerModel, view: ResultView) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Segments (N, 2, 3) as start and direction in display voxels, and their colours (N, 4)."""
    from napari.utils.colormaps.standardize_color import transform_color

    first = viewer.dims.ndim - 3
    rows, columns = (axis - first for axis in viewer.dims.displayed)
    (across,) = {0, 1, 2} - {rows, columns}
    index = round(float(view.mask.world_to_data(viewer.dims.point[-3:])[across]))
    segments, colors = [], []
    for mean in view.mean_in_sight:
        if not 0 <= index < mean.data.shape[across]:
            continue
        plane = np.asarray(mean.data.take(index, axis=across))
        plane = plane if rows < columns else plane.T
        for level, color in AGREEMENT.items():
            found = contour_segments(plane, level)
            segment = np.zeros((len(found), 2, 3))
            segment[:, 0, across] = index
            segment[:, :, rows], segment[:, :, columns] = found[..., 0], found[..., 1]
            segments.append(segment)
            colors.append(np.repeat(transform_color(color), len(found), axis=0))
    if not segments:
        return np.zeros((0, 2, 3)), np.zeros((0, 4))
    return np.concatenate(segments), np.concatenate(colors)


def contour_segments(plane: npt.NDArray[np.floating[Any]], level: float) -> npt.NDArray[np.float64]:
    """The lines between what is above a level and what is not, cut into straight pieces.

    Parameters
    ----------
    plane : ndarray, (U, V), float
        Values of one slice.
    level : float
        What the lines separate.

    Returns
    -------
    ndarray, (N, 2, 2)
        For each piece where it starts and where it goes from there, in voxels; beyond the plane all is 0.
    """
    from skimage.measure import find_contours

    lines = find_contours(np.pad(plane, 1), level)
    pieces = [np.stack([line[:-1] - 1, np.diff(line, axis=0)], axis=1) for line in lines]
    return np.concatenate(pieces) if pieces else np.zeros((0, 2, 2))
