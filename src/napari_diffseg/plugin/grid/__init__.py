"""Voxels to the screen and back; which layers belong to one case."""
