"""Manners and workarounds towards napari's canvas and layer list."""
