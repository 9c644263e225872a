"""Opens the panel from napari's own menu of segmentation."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import napari

PLUGIN, WIDGET = "napari-diffseg", "Diffusion ensemble"


def show_panel(viewer: napari.viewer.Viewer) -> None:
    """Dock the panel, or bring the one that is docked into sight.

    Parameters
    ----------
    viewer : Viewer
        The window to dock it in; napari gives the one in front.
    """
    dock, _ = viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)
    dock.show()
    dock.raise_()
