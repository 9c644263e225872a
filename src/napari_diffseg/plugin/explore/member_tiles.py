"""Updates the members side by side when the result or the slice on the screen changes, while they are visible."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QObject, QTimer
from qtpy.QtGui import QColor
from scipy import ndimage

from napari_diffseg.appearance import MASK_COLOR, Convention, direction_of
from napari_diffseg.plugin.canvas.add_layer import bare
from napari_diffseg.plugin.explore.navigation import slice_on_screen
from napari_diffseg.plugin.grid.frame import RESULT_KEY
from napari_diffseg.plugin.widgets.plots.tile_grid import MOST_TILES

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_diffseg.plugin.layers.result_layers import ResultLayers
    from napari_diffseg.plugin.layers.result_view import ResultView
    from napari_diffseg.plugin.widgets.plots.tile_grid import TileGrid

    Window = tuple[slice, slice]

_SOON_MS: Final = 40
_MARGIN: Final = 8
_LEAST: Final = 24
_AGREED: Final = 4
"""One member in so many has to see what the tiles are cut to."""
_FILL: Final = 0.25
"""How much of the mask's colour lies over the image within its outline."""


class MemberTiles(QObject):
    """Draws all members on the slice on the screen, along the run's slice axis, cut to where the lesion is.

    Parameters
    ----------
    viewer : ViewerModel or Viewer
        Its slice is shown, over its uppermost visible image.
    results : ResultLayers
        The result.
    wall : TileGrid
        Shows the tiles.
    """

    def __init__(self, viewer: ViewerModel, results: ResultLayers, wall: TileGrid) -> None:
        super().__init__()
        self._viewer = viewer
        self._results = results
        self._wall = wall
        self._convention = Convention.RADIOLOGICAL
        self._soon = QTimer(wall)  # goes with it, where a window is closed as a whole
        self._soon.setSingleShot(True)
        self._soon.setInterval(_SOON_MS)
        self._soon.timeout.connect(self.draw)
        wall.wanted.connect(self.draw)
        viewer.dims.events.current_step.connect(self.follow)

    def follow(self, _event: object = None) -> None:
        """The slice, or the result, is another: draw it soon, if the wall is in sight."""
        if self._wall.isVisible() and not self._soon.isActive():  # a slider that moves on is followed, too
            self._soon.start()

    def show_as(self, convention: Convention) -> None:
        """Draw the tiles with the patient's left where the canvas has it."""
        self._convention = convention
        self.follow()

    def draw(self) -> None:
        """Draw the tiles of the slice that is on the screen now."""
        view = self._results.view
        tiles = {} if view is None else tiles_of(self._viewer, view)
        if view is None or not tiles:
            self._wall.say_nothing("Run first." if view is None else "No member has this slice.")
            return
        axis = view.started.slice_axis
        height, width = (view.frame.volume.spacing_mm[a] for a in view.frame.axes if a != axis)
        if _is_mirrored(view, self._convention):
            tiles = {k: tile[:, ::-1] for k, tile in tiles.items()}
        planes = dict.fromkeys(view.started.members_across, view.started.plane_across)
        self._wall.set_tiles(tiles, pixel_mm=(height, width), planes=planes)

    def close(self) -> None:
        """Leave the viewer alone from now on."""
        self._soon.stop()
        self._viewer.dims.events.current_step.disconnect(self.follow)


def tiles_of(viewer: ViewerModel, view: ResultView) -> dict[int, npt.NDArray[np.uint8]]:
    """Each member that is shown on the slice on the screen, (R, C, 3), rows and columns as napari shows them."""
    s = slice_on_screen(viewer, view)
    if s not in view.started.slices:
        return {}
    window = _window_of(view)
    image = _image_under(viewer, view, s)[window]
    members = view.ensemble.begun[: view.first][:MOST_TILES]
    return {k: tile(image, _upright(view, _any_label(view, k, s))[window]) for k in members}


def _window_of(view: ResultView) -> Window:
    """Around what a quarter of the members see: around specks that one of many sees it would be the whole head.

    It is the same on all slices, so that the tiles stay where they are while somebody scrolls.
    """
    quarter = -(-len(view.ensemble.begun) // _AGREED)
    seen = view.ensemble.seen_from_above(by=quarter)
    return window_around(_upright(view, seen if seen.any() else view.ensemble.seen_from_above()))


def tile(image: npt.NDArray[np.floating[Any]], mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """A mask over an image with values in [0, 1], (R, C) both, as red, green and blue, (R, C, 3)."""
    color = np.array(QColor(MASK_COLOR).getRgbF()[:3])
    cover = np.where(mask, _FILL, 0.0)
    cover[mask & ~ndimage.binary_erosion(mask, border_value=1)] = 1.0
    rgb = image[..., None] * (1 - cover[..., None]) + color * cover[..., None]
    return np.asarray(np.round(255 * rgb), np.uint8)


def window_around(seen: npt.NDArray[np.bool_]) -> Window:
    """A square around what is seen, with a margin, within the plane as far as it goes; all of it, if nothing is."""
    if not seen.any():
        return slice(None), slice(None)
    spans = [np.flatnonzero(seen.any(axis=1 - axis))[[0, -1]] for axis in range(2)]
    side = max(*(high - low + 1 + 2 * _MARGIN for low, high in spans), _LEAST)
    starts = [
        int(np.clip((low + high + 1 - side) // 2, 0, max(n - side, 0)))
        for (low, high), n in zip(spans, seen.shape, strict=True)
    ]
    return slice(starts[0], starts[0] + int(side)), slice(starts[1], starts[1] + int(side))


def _is_mirrored(view: ResultView, convention: Convention) -> bool:
    """Whether columns run against the voxels, so that the patient's left is where the convention wants it."""
    places = [place for place, axis in enumerate(view.frame.axes) if axis != view.started.slice_axis]
    label = view.frame.axis_labels[places[1]]
    return label in ("L", "R") and direction_of(label, convention) == "left"


def _any_label(view: ResultView, member: int, s: int) -> npt.NDArray[np.bool_]:
    return view.lesion_of(view.ensemble.member_slice(member, s))


def _upright(view: ResultView, plane: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A source slice (U, V) with rows and columns as napari shows them."""
    axis = view.started.slice_axis
    shown = view.frame.to_display(np.expand_dims(plane, axis))
    return np.asarray(shown.take(0, axis=view.frame.axes.index(axis)))


def _image_under(viewer: ViewerModel, view: ResultView, s: int) -> npt.NDArray[np.float64]:
    """The uppermost visible image on the run's voxels on a slice, (R, C) in [0, 1] by its contrast; else black."""
    axis = view.frame.axes.index(view.started.slice_axis)
    place = view.frame.slab_offset(view.started.slice_axis, s)[axis]
    for layer in reversed([bare(layer) for layer in viewer.layers]):
        fits = layer.ndim == 3 and getattr(layer.data, "shape", None) == view.frame.shape
        if fits and layer.visible and RESULT_KEY not in layer.metadata and hasattr(layer, "contrast_limits"):
            low, high = layer.contrast_limits
            plane = np.asarray(layer.data.take(place, axis=axis), np.float64)
            return np.asarray(np.clip((plane - low) / (high - low), 0.0, 1.0))
    return np.zeros([n for a, n in enumerate(view.frame.shape) if a != axis])
