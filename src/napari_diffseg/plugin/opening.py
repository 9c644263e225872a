"""Opens the panel from napari's own menu of segmentation, and for what is dropped on the canvas."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import napari

    from napari_diffseg.plugin.panel.panel import DiffsegPanel

PLUGIN, WIDGET = "napari-diffseg", "Diffusion ensemble"


def show_panel(viewer: napari.viewer.Viewer) -> None:
    """Dock the panel, or bring the one that is docked into sight.

    Parameters
    ----------
    viewer : Viewer
        The window to dock it in; napari gives the one in front.
    """
    panel_of(viewer)


def panel_of(viewer: napari.viewer.Viewer) -> DiffsegPanel:
    """The panel of a window, docked and in sight."""
    dock, widget = viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)
    dock.show()
    dock.raise_()
    panel: DiffsegPanel = widget
    return panel
