"""The ensemble of masks: votes per voxel, how they are summed up, and what is measured of them. No torch."""
