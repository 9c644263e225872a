"""The layer that shows where the mask is wrong: what is missed, what is false, and what of it was sure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from napari_diffseg.evaluation.metrics.judgement import Verdict
from napari_diffseg.plugin.canvas.add_layer import add_quietly, is_there
from napari_diffseg.plugin.grid.frame import METADATA_KEY, RESULT_KEY

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_diffseg.plugin.layers.result_view import ResultView

NAME: Final = "diffseg | errors"

COLORS: Final = {
    Verdict.MISSED: "#ffab40",
    Verdict.SURELY_MISSED: "#ff1744",
    Verdict.FALSE: "#80d8ff",
    Verdict.SURELY_FALSE: "#2962ff",
}
"""Warm is missed, cold is false, strong is sure: told apart by people who see red and green alike."""

WORDS: Final = {
    Verdict.MISSED: "missed",
    Verdict.SURELY_MISSED: "missed by nearly all members",
    Verdict.FALSE: "false",
    Verdict.SURELY_FALSE: "false in nearly all members",
}


class ErrorLayer:
    """One layer for all runs.

    Parameters
    ----------
    viewer : ViewerModel or Viewer
        Gets the layer when errors are to be shown for the first time.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._layer: Layer | None = None

    def show(self, errors: npt.NDArray[np.uint8], view: ResultView) -> None:
        """Show a map of errors, (X, Y, Z), on the grid of a result."""
        data = view.frame.to_display(errors)
        if self._layer is None or not is_there(self._viewer, self._layer):
            self._layer = self._add(data, view)
        layer: Any = self._layer
        layer.data = data
        if layer.metadata.get(METADATA_KEY) is not view.frame:
            layer.metadata = {**layer.metadata, METADATA_KEY: view.frame}
            for name, value in view.frame.placement().items():
                setattr(layer, name, value)
        layer.visible = True

    def hide(self) -> None:
        """Take it off the screen."""
        if self._layer is not None:
            self._layer.visible = False

    def _add(self, data: npt.NDArray[np.uint8], view: ResultView) -> Layer:
        from napari.layers import Labels
        from napari.utils.colormaps import direct_colormap

        colors: dict[int | None, str] = {None: "transparent", 0: "transparent"}
        colors |= {int(verdict): color for verdict, color in COLORS.items()}
        attributes = view.frame.layer_attributes()
        attributes["metadata"] = {**attributes["metadata"], RESULT_KEY: NAME}
        words = {"index": [int(v) for v in WORDS], "error": list(WORDS.values())}
        layer = Labels(data, name=NAME, colormap=direct_colormap(colors), features=words, opacity=0.8, **attributes)
        add_quietly(self._viewer, layer)
        return layer
