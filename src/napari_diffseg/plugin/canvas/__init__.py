"""Drawing on napari's canvas: styles, colour bars, sides, adding layers, and workarounds for napari."""
