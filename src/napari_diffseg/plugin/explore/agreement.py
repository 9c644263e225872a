"""Updates the outlines of agreement when the result changes: lines in 2-D, surfaces in 3-D, nothing when off."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from qtpy.QtCore import QObject, QTimer

from napari_diffseg.plugin.layers.contours import Contours
from napari_diffseg.plugin.layers.surfaces import Surfaces

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_diffseg.plugin.background.latest_only import Launcher
    from napari_diffseg.plugin.explore.answer_polling import AnswerPolling
    from napari_diffseg.plugin.layers.result_layers import ResultLayers

_SOON_MS: Final = 15
"""Scrolling through many slices draws the lines of the last one only."""


class Agreement(QObject):
    """Draws anew whenever the result, the slice on the screen or the number of its dimensions changes.

    Parameters
    ----------
    viewer : ViewerModel or Viewer
        Gets the layers.
    results : ResultLayers
        The result.
    launch : callable (target, stop)
        Runs `target()`, which never raises, in another thread.
    polling : AnswerPolling
        Hears when surfaces are made.
    """

    def __init__(self, viewer: ViewerModel, results: ResultLayers, *, launch: Launcher, polling: AnswerPolling) -> None:
        super().__init__()
        self._viewer = viewer
        self._results = results
        self._shown = False
        self._contours = Contours(viewer)
        self._surfaces = Surfaces(viewer, launch=launch)
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.setInterval(_SOON_MS)
        self._soon.timeout.connect(self._draw_contours)
        polling.watch(self._surfaces.newest)
        self._events = (viewer.dims.events.current_step, viewer.dims.events.order)
        for event in self._events:
            event.connect(self._follow_slice)
        viewer.dims.events.ndisplay.connect(self._follow_dimensions)

    def show(self, shown: bool) -> None:
        """Switch the outlines on or off."""
        self._shown = shown
        self.draw()

    def draw(self) -> None:
        """The result is another: draw its outlines."""
        self._draw_contours()
        self._surfaces.draw(self._results.view if self._shown else None)

    def hide(self) -> None:
        """Take the outlines off the screen."""
        self._shown = False
        self.draw()

    def close(self) -> None:
        """Leave the viewer alone from now on."""
        self._soon.stop()
        for event in self._events:
            event.disconnect(self._follow_slice)
        self._viewer.dims.events.ndisplay.disconnect(self._follow_dimensions)

    def _follow_slice(self, _event: Any) -> None:
        if self._shown and self._viewer.dims.ndisplay == 2:
            self._soon.start()

    def _follow_dimensions(self, _event: Any) -> None:
        if self._shown:
            self.draw()

    def _draw_contours(self) -> None:
        self._contours.draw(self._results.view if self._shown else None)
