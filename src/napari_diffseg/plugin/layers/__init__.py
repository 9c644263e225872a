"""Results as napari layers, drawn a little in each turn of the event loop."""
