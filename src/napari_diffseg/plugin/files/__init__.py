"""What napari reads and writes: images, masks, folders of runs."""
