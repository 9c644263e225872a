"""From source voxels to napari's world coordinates and back; which layers belong to one case."""
