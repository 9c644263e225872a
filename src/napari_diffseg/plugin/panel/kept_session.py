"""What outlives a panel that is closed while its window stays: the session with its runs, and their layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QObject
from qtpy.QtWidgets import QApplication

from napari_diffseg.plugin.canvas.add_layer import bare

if TYPE_CHECKING:
    import napari
    from qtpy.QtWidgets import QWidget

    from napari_diffseg.plugin.layers.result_layers import ResultLayers
    from napari_diffseg.plugin.session.session import Session


class KeptSession(QObject):
    """Waits in a viewer's window for the next panel; with the window the session ends, and its run with it.

    Parameters
    ----------
    window : QWidget
        Of the viewer.
    viewer : Viewer
        Whose session it is.
    session, results : Session, ResultLayers
        What is kept; nobody listens to them meanwhile.
    """

    def __init__(self, window: QWidget, viewer: napari.viewer.Viewer, session: Session, results: ResultLayers) -> None:
        super().__init__(window)
        self.viewer, self.session, self.results = viewer, session, results
        self.destroyed.connect(session.close)

    @classmethod
    def take(cls, viewer: napari.viewer.Viewer) -> tuple[Session, ResultLayers] | None:
        """What was kept for a viewer, for a panel that is opened again; None where nothing was."""
        for window in QApplication.topLevelWidgets():
            for kept in window.findChildren(cls):
                if bare(kept.viewer) is bare(viewer):
                    kept.destroyed.disconnect(kept.session.close)
                    kept.deleteLater()
                    found = kept.session, kept.results
                    kept.setParent(None)
                    return found
        return None
