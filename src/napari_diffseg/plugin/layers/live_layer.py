"""The layer that shows a slice while it is denoised."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

import numpy as np

from napari_diffseg.plugin.canvas.add_layer import is_there
from napari_diffseg.plugin.canvas.result_style import live_style, sample_style
from napari_diffseg.plugin.grid.frame import METADATA_KEY, RESULT_KEY

if TYPE_CHECKING:
    from typing import Any

    import numpy.typing as npt
    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_diffseg.events import Preview
    from napari_diffseg.plugin.grid.frame import Frame
    from napari_diffseg.plugin.layers.layer_queue import LayerQueue

_NAME = "diffseg | live"


class Live(Enum):
    """What of the slice is shown; the value is what the user reads."""

    MASK = "predicted mask"
    SAMPLE = "noisy sample"


class LiveLayer:
    """One layer for all runs, because napari leaks about 2 MB with every layer that is removed.

    Parameters
    ----------
    viewer : ViewerModel or Viewer
        Where the layer goes; when the user has removed it, the next preview adds another.
    arriving : LayerQueue
        Brings it there.
    """

    def __init__(self, viewer: ViewerModel, arriving: LayerQueue) -> None:
        self._viewer, self._arriving = viewer, arriving
        self._layer: Layer | None = None
        self._slice: int | None = None
        self._shows = Live.MASK
        self._is_new = True

    def begin(self, frame: Frame, slice_axis: int, prefix: str) -> None:
        """Previews to come are of another run, on this grid; `prefix` is how its layers' names begin."""
        self._frame, self._axis, self._prefix = frame, slice_axis, prefix
        self._slice, self._is_new = None, True

    def prepare(self) -> None:
        """Let the layer come, empty, while the first preview of a run that has begun is still on its way."""
        if self._viewer.dims.ndisplay == 2 and not self._is_coming():
            plane = np.zeros([n for axis, n in enumerate(self._frame.volume.shape) if axis != self._axis], np.float32)
            self._layer = self._make(self._slab(plane))
            self._arriving.put_first(self._layer)

    def choose(self, shows: Live) -> None:
        """Show the one or the other, from the next preview on."""
        self._shows = shows
        if self._layer is not None:
            for name, value in self._style().items():
                if name != "visible":
                    setattr(self._layer, name, value)

    def show(self, preview: Preview) -> None:
        """Show a slice at its place; not in 3-D, where drawing takes longer than sampling."""
        if self._viewer.dims.ndisplay == 3:
            return
        plane = preview.sample if self._shows is Live.SAMPLE else np.clip(preview.mask, 0.0, 1.0)
        data = self._slab(plane)
        if self._layer is None or not self._is_coming():
            self._layer, self._slice, self._is_new = self._make(data), None, True
        if not self._is_there():
            self._arriving.add_now(self._layer)
        if self._layer.data.shape != data.shape:
            self._layer.data = data.copy()
        else:
            self._layer.data[...] = data
        if preview.slice_index != self._slice:
            self._place(preview.slice_index)
        self._layer.refresh(extent=False, thumbnail=False, highlight=False)

    def rest(self) -> None:
        """Put the layer out of sight until the next preview; where somebody has hidden it, it stays so."""
        if self._layer is not None and self._layer.visible:
            self._layer.visible = False
            self._slice, self._is_new = None, True

    def end(self) -> None:
        """Put the layer out of sight."""
        if self._layer is not None:
            self._layer.visible = False

    def _is_there(self) -> bool:
        return self._layer is not None and is_there(self._viewer, self._layer)

    def _is_coming(self) -> bool:
        """Whether it is in the viewer, or on its way there."""
        return self._is_there() or (self._layer is not None and self._arriving.awaits(self._layer))

    def _slab(self, plane: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """A plane of the source, (U, V), as a volume of one slice in the order in which it is shown."""
        return self._frame.to_display(np.expand_dims(plane, self._axis))

    def _style(self) -> dict[str, Any]:
        return live_style() if self._shows is Live.MASK else sample_style()

    def _metadata(self) -> dict[str, Any]:
        return {METADATA_KEY: self._frame, RESULT_KEY: self._prefix}

    def _make(self, data: npt.NDArray[np.float32]) -> Layer:
        from napari.layers import Layer

        attributes = self._frame.layer_attributes() | {"metadata": self._metadata(), "name": _NAME}
        return Layer.create(data.copy(), attributes | self._style(), "image")

    def _place(self, slice_index: int) -> None:
        assert self._layer is not None  # show() has made it
        for name, value in self._frame.placement(self._frame.slab_offset(self._axis, slice_index)).items():
            if not np.array_equal(np.asarray(getattr(self._layer, name)), value):
                setattr(self._layer, name, value)  # each draws anew, so only what differs
        if self._is_new:
            self._layer.metadata = self._metadata()
            self._layer.visible = True
        self._slice, self._is_new = slice_index, False
