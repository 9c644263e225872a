"""Updates scores and errors when the result or the reference changes, also while the reference is drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from qtpy.QtCore import QObject, QTimer, Signal

from napari_diffseg.plugin.explore.judging import Judging
from napari_diffseg.plugin.layers.error_layer import ErrorLayer

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_diffseg.plugin.background.latest_only import Launcher
    from napari_diffseg.plugin.explore.answer_polling import AnswerPolling
    from napari_diffseg.plugin.layers.result_layers import ResultLayers
    from napari_diffseg.plugin.widgets.reference_box import Judged, ReferenceBox

_SOON_MS: Final = 50
"""After a stroke: napari tells of one before it writes it."""


class AgainstReference(QObject):
    """Judges anew when the result is another, or the reference, or a stroke in it.

    Parameters
    ----------
    viewer : ViewerModel or Viewer
        Gets the layer of errors when it is wanted.
    results : ResultLayers
        The result.
    box : ReferenceBox
        Chooses the reference and shows what is found.
    launch : callable (target, stop)
        Runs `target()`, which never raises, in another thread.
    polling : AnswerPolling
        Hears when it is judged.
    """

    replaced = Signal()
    """The reference is another, or has been drawn in."""

    def __init__(
        self,
        viewer: ViewerModel,
        results: ResultLayers,
        box: ReferenceBox,
        *,
        launch: Launcher,
        polling: AnswerPolling,
    ) -> None:
        super().__init__()
        self._results = results
        self._reference: Any = None
        self._judged: Judged | None = None
        self._shown = False
        self._errors = ErrorLayer(viewer)
        self.judging = Judging(launch=launch)
        polling.watch(self.judging.latest)
        self.judging.judged.connect(self._take)
        self.judging.judged.connect(box.show_judged)
        self.judging.failed.connect(box.show_failure)
        box.chosen.connect(self._choose)
        box.shown.connect(self._show)
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.setInterval(_SOON_MS)
        self._soon.timeout.connect(lambda: self.judge(at_once=False))

    @property
    def layer(self) -> Layer | None:
        """The reference; None where there is none."""
        layer: Layer | None = self._reference
        return layer

    def judge(self, *, at_once: bool = True) -> None:
        """Hold what is on the screen now against the reference, if there is one."""
        self.judging.ask(self._results.view, self._reference, at_once=at_once)

    def hide(self) -> None:
        """Take the errors off the screen."""
        self._errors.hide()

    def close(self) -> None:
        """Leave layers alone from now on."""
        self._soon.stop()
        self._listen(None)
        self.judging.close()

    def _choose(self, layer: Layer | None) -> None:
        self._listen(layer)
        self.replaced.emit()
        self.judge()

    def _listen(self, layer: Layer | None) -> None:
        """Hear of the strokes in a reference, and no longer of those in the one before."""
        if self._reference is not None:
            for event in (self._reference.events.paint, self._reference.events.data):
                event.disconnect(self._redrawn)
        self._reference = layer
        if layer is not None:
            for event in (self._reference.events.paint, self._reference.events.data):
                event.connect(self._redrawn)

    def _redrawn(self, _event: object) -> None:
        self.replaced.emit()
        self._soon.start()

    def _show(self, shown: bool) -> None:
        self._shown = shown
        self._draw()

    def _take(self, judged: Judged | None) -> None:
        self._judged = judged
        self._draw()

    def _draw(self) -> None:
        if self._shown and self._judged is not None:
            self._errors.show(self._judged.judgement.errors, self._judged.view)
        else:
            self._errors.hide()
