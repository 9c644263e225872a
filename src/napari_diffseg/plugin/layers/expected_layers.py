"""The layer of what a run expects after one evaluation: the uncertainty that very many members would have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from napari_diffseg.plugin.canvas.color_bar import show_bar_when_seen
from napari_diffseg.plugin.canvas.result_style import uncertainty_style
from napari_diffseg.plugin.grid.frame import RESULT_KEY

if TYPE_CHECKING:
    import numpy.typing as npt
    from napari.layers import Layer

    from napari_diffseg.ensemble.expected import ExpectedMask
    from napari_diffseg.events import Expected
    from napari_diffseg.plugin.layers.result_layers import ResultLayers
    from napari_diffseg.plugin.layers.result_view import ResultView, Voxel

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
        self._layers: list[Layer] = []

    def begin(self) -> None:
        """A new run has taken the screen; the layers of the last one stay, out of sight."""
        for layer in self._layers:
            if layer.visible:
                layer.visible = False
        self._layers = []

    def at(self, voxel: Voxel) -> tuple[float, ...] | None:
        """What the run on the screen expects of each label at a source voxel; None where it expects nothing."""
        view = self._results.view
        return None if view is None or view.ensemble.expected is None else view.ensemble.expected.at(voxel)

    def show(self, event: Expected) -> None:
        """Take in what the run on the screen expects on some slices, for its ensemble too; what it knows stays."""
        view = self._results.view
        if view is None or view.ensemble.expected is None:
            return
        expected = view.ensemble.expected
        view.ensemble.expect(event.slices, event.probability)
        if expected.on_slice(event.slices[0]) is None:  # members were added to a run of which that is not known
            return
        if not self._layers:
            empty = np.zeros((len(view.started.labels), *view.started.source_shape), np.float32)
            self._layers = [self._make(view, c, data) for c, data in enumerate(empty)]
        axis = view.started.slice_axis
        for layer, p in zip(self._layers, expected.probability(), strict=True):
            planes = np.moveaxis(view.frame.to_source(layer.data), axis, 0)
            known = np.moveaxis(p, axis, 0)[list(event.slices)]
            planes[list(event.slices)] = known * (1 - known)
            layer.refresh(extent=False, thumbnail=False, highlight=False)

    def show_all(self, expected: ExpectedMask) -> None:
        """Take in what the run on the screen expects on all of its slices, as one that was kept knows it."""
        view = self._results.view
        if view is None:
            return
        view.ensemble.expected = expected
        self._layers = [self._make(view, c, data) for c, data in enumerate(expected.variance())]

    def _make(self, view: ResultView, c: int, variance: npt.NDArray[np.float32]) -> Layer:
        from napari.layers import Image

        labels = view.started.labels
        tag = f" {labels[c]}" if len(labels) > 1 else ""
        data = view.frame.to_display(variance)
        attributes = view.frame.layer_attributes()
        attributes["metadata"] = {**attributes["metadata"], RESULT_KEY: view.prefix}
        style = uncertainty_style(_LARGEST) | {"visible": False}
        layer = Image(data, name=f"{view.prefix} | expected uncertainty{tag}", **(attributes | style))
        layer.colorbar.position = "top_left"  # the run's own uncertainty is on the right, and two do not fit
        show_bar_when_seen(layer)
        self._results.arriving.put(layer)
        return layer
