"""On which side of the screen the patient's left is, and the letters that say so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from psygnal import Signal

from napari_diffseg.appearance import Convention, direction_of
from napari_diffseg.plugin.canvas.add_layer import bare
from napari_diffseg.plugin.grid.layer_notes import side_is_unknown

if TYPE_CHECKING:
    from napari.components import ViewerModel

MARKS: Final = {
    "diffseg_side_left": "middle_left",
    "diffseg_side_right": "middle_right",
    "diffseg_side_top": "top_center",
    "diffseg_side_bottom": "bottom_center",
}
"""The letters' names among the overlays of the canvas, and where they are."""
_OPPOSITE: Final = {"L": "R", "R": "L"}
_FONT_POINTS: Final = 14


class Sides:
    """Turns the camera, never the data: voxels, affines and whatever is written stay what they are.

    Only where the world's axes are named is anything known of sides: napari takes the names from the layers that our
    reader makes. Elsewhere, and on axes that do not run from left to right, the camera is left alone. So it is in
    3-D, which a camera that is turned on one axis would show as its mirror image.

    Parameters
    ----------
    viewer : ViewerModel or Viewer
        Its canvas gets the letters.
    """

    changed = Signal(Convention)
    """Another convention has been chosen."""

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._camera = viewer.scene.camera
        self._before = str(self._camera.orientation2d[1])
        self._chosen: Convention | None = None
        self._sources = (
            viewer.dims.events.order,
            viewer.dims.events.ndisplay,
            viewer.dims.events.axis_labels,
            viewer.layers.events.inserted,
            viewer.layers.events.removed,
        )
        for source in self._sources:
            source.connect(self.follow)
        self._camera.events.orientation.connect(self._mark)
        self.follow()

    @property
    def convention(self) -> Convention:
        """The one that is chosen; while none is, the one that napari's preferences amount to for our layers."""
        towards_left = self._chosen is None and self._before == "left"
        return self._chosen or (Convention.NEUROLOGICAL if towards_left else Convention.RADIOLOGICAL)

    def choose(self, convention: Convention) -> None:
        """Show slices so from now on."""
        self._chosen = convention
        self.follow()
        self.changed.emit(convention)

    def follow(self, _event: object = None) -> None:
        """Another plane, or other layers, are on the screen."""
        _, label = self._labels()
        if self._chosen is not None:
            self._turn(direction_of(label, self._chosen) if label in _OPPOSITE else self._before)
        self._mark()

    def close(self) -> None:
        """Leave the viewer as it was found."""
        for source in self._sources:
            source.disconnect(self.follow)
        self._camera.events.orientation.disconnect(self._mark)
        self._turn(self._before)
        for name in MARKS:
            if name in self._viewer.canvas.overlays:
                self._viewer.canvas.overlays[name].visible = False

    def _labels(self) -> tuple[str, str]:
        """The names of the axes that run down and across the screen; empty in 3-D, and where no layer has them."""
        dims = self._viewer.dims
        named = {label for layer in self._viewer.layers for label in layer.axis_labels}
        if dims.ndisplay != 2:
            return "", ""
        labels = (dims.axis_labels[axis] for axis in dims.displayed)  # they outlive the layers
        down, across = (label if label in named else "" for label in labels)
        return down, across

    def _turn(self, horizontal: str) -> None:
        vertical, present = self._camera.orientation2d
        if str(present) != horizontal:
            self._camera.orientation2d = (vertical, horizontal)

    def _mark(self, _event: object = None) -> None:
        """Letters at the ends of the axis from left to right, wherever it points, whoever has turned it."""
        down, across = self._labels()
        vertical, horizontal = map(str, self._camera.orientation2d)
        texts = dict.fromkeys(MARKS, "")
        if across in _OPPOSITE:
            ends = (_OPPOSITE[across], across) if horizontal == "right" else (across, _OPPOSITE[across])
            texts["diffseg_side_left"], texts["diffseg_side_right"] = ends
        elif down in _OPPOSITE:
            ends = (_OPPOSITE[down], down) if vertical == "down" else (down, _OPPOSITE[down])
            texts["diffseg_side_top"], texts["diffseg_side_bottom"] = ends
        doubt = "?" if any(side_is_unknown(bare(layer)) for layer in self._viewer.layers) else ""
        for name, text in texts.items():
            self._show(name, text + doubt if text else "")

    def _show(self, name: str, text: str) -> None:
        from napari.components.overlays import TextOverlay

        overlays = self._viewer.canvas.overlays
        if name not in overlays:
            if not text:
                return
            # in a box of the canvas's colour, or a dark letter of a light theme would drown in the image's black
            overlays[name] = TextOverlay(position=MARKS[name], font_size=_FONT_POINTS, box=True)
        overlays[name].text = text
        overlays[name].visible = bool(text)
