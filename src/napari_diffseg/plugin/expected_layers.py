"""The layer of what a run expects after one evaluation: the uncertainty that very many members would have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from napari_diffseg.plugin.color_bar import show_bar_when_seen
from napari_diffseg.plugin.frame import RESULT_KEY
from napari_diffseg.plugin.result_style import uncertainty_style
from napari_diffseg.segmenting.expected import ExpectedMask

if TYPE_CHECKING:
    from napari.layers import Layer

    from napari_diffseg.events import Expected
    from napari_diffseg.plugin.result_layers import ResultLayers
    from napari_diffseg.plugin.result_view import ResultView, Voxel

_LARGEST: Final = 0.25  # p (1 - p) of a coin


class ExpectedLayers:
    """Shows p (1 - p) of the expected mask, slice by slice, in a layer a label that is hidden until it is wanted.

    It ranks voxels on which few members agree, so it finds errors that all of them make. Checkpoints that expect
    nothing get no layer, and a layer that the user has removed stays removed.

    Parameters
    ----------
    results : ResultLayers
        Says which run is on the screen, and lets the layers come with its own.
    """

    def __init__(self, results: ResultLayers) -> None:
        self._results = results
        self._mask: ExpectedMask | None = None
        self._layers: list[Layer] = []

    def begin(self) -> None:
        """A new run has taken the screen; the layers of the last one stay, out of sight."""
        for layer in self._layers:
            if layer.visible:
                layer.visible = False
        self._mask, self._layers = None, []

    def at(self, voxel: Voxel) -> tuple[float, ...] | None:
        """What the run on the screen expects of each label at a source voxel; None where it expects nothing."""
        return None if self._mask is None else self._mask.at(voxel)

    def show(self, event: Expected) -> None:
        """Take in what the run on the screen expects on some slices."""
        view = self._results.view
        if view is None:
            return
        if self._mask is None:
            self._mask = ExpectedMask(view.started)
            self._layers = [self._make(view, c) for c in range(len(view.started.labels))]
        self._mask.add(event.slices, event.probability)
        axis = view.started.slice_axis
        for layer, p in zip(self._layers, self._mask.probability(), strict=True):
            planes = np.moveaxis(view.frame.to_source(layer.data), axis, 0)
            known = np.moveaxis(p, axis, 0)[list(event.slices)]
            planes[list(event.slices)] = known * (1 - known)
            layer.refresh(extent=False, thumbnail=False, highlight=False)

    def _make(self, view: ResultView, c: int) -> Layer:
        from napari.layers import Image

        labels = view.started.labels
        tag = f" {labels[c]}" if len(labels) > 1 else ""
        data = view.frame.to_display(np.zeros(view.started.source_shape, np.float32))
        attributes = view.frame.layer_attributes()
        attributes["metadata"] = {**attributes["metadata"], RESULT_KEY: view.prefix}
        style = uncertainty_style(_LARGEST) | {"visible": False}
        layer = Image(data, name=f"{view.prefix} | expected uncertainty{tag}", **(attributes | style))
        layer.colorbar.position = "top_left"  # the run's own uncertainty is on the right, and two do not fit
        show_bar_when_seen(layer)
        self._results.arriving.put(layer)
        return layer
