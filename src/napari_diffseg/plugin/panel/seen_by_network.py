"""Shows what a run would take, and asks how arrays lie that were opened from no file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_diffseg.appearance import Convention
from napari_diffseg.errors import DiffsegError
from napari_diffseg.plugin.grid.layer_notes import side_is_unknown
from napari_diffseg.plugin.grid.layer_volume import axes_are_known, frame_of_layer, is_without_file
from napari_diffseg.plugin.grid.upright_slice import upright_middle
from napari_diffseg.plugin.widgets.plots.input_picture import Picture

if TYPE_CHECKING:
    from napari.layers import Layer

    from napari_diffseg.plugin.canvas.sides import Sides
    from napari_diffseg.plugin.session.session import Session
    from napari_diffseg.plugin.widgets.case_box import CaseBox


class SeenByNetwork:
    """Keeps picture and question true to the images that are chosen.

    Parameters
    ----------
    session : Session
        Has the images, and the direction of the checkpoint's slices.
    case : CaseBox
        Shows the picture, and asks.
    sides : Sides
        Where the patient's left is shown.
    """

    def __init__(self, session: Session, case: CaseBox, sides: Sides) -> None:
        self._session, self._case, self._sides = session, case, sides
        self._shown: tuple[Any, ...] = ()
        case.axes.chosen.connect(self._take_axes)
        session.changed.connect(self.follow)
        session.checkpoint_loaded.connect(self.follow)
        sides.changed.connect(self.follow)

    def _chosen(self) -> dict[str, Layer]:
        inputs = self._session.chosen.inputs
        return {name: inputs[name] for name in self._session.recipe.modalities if name in inputs}

    def follow(self, _event: object = None) -> None:
        """Other images may be chosen, or they lie otherwise."""
        chosen = self._chosen()
        direction = self._session.recipe.axis_codes[2]
        key = (
            tuple((name, id(one), id(one.data), tuple(one.axis_labels)) for name, one in chosen.items()),
            direction,
            self._sides.convention,
        )
        if key == self._shown:
            return
        self._shown = key
        arrays = [layer for layer in chosen.values() if is_without_file(layer)]
        known = {"".join(layer.axis_labels) for layer in arrays if axes_are_known(layer)}
        code = known.pop() if len(known) == 1 and all(map(axes_are_known, arrays)) else ""
        self._case.axes.show_asked(bool(arrays), code)
        self._case.picture.show_pictures([p for one in chosen.items() if (p := self._picture(*one, direction))])

    def _picture(self, name: str, layer: Layer, direction: str) -> Picture | None:
        try:
            volume = frame_of_layer(layer).volume
        except DiffsegError:  # the reason stands beside Run
            return None
        radiological = self._sides.convention is Convention.RADIOLOGICAL
        upright = upright_middle(volume, direction, left_on_the_right=radiological)
        low, high = layer.contrast_limits
        grey = np.clip((np.asarray(upright.plane, np.float32) - low) / max(high - low, 1e-12), 0, 1)
        unsure = side_is_unknown(layer) or (is_without_file(layer) and not axes_are_known(layer))
        return Picture(name, np.round(255 * np.nan_to_num(grey)).astype(np.uint8), upright, "?" if unsure else "")

    def _take_axes(self, code: str) -> None:
        for layer in self._chosen().values():
            if is_without_file(layer):
                layer.axis_labels = tuple(code)
        self._session.changed.emit()
