"""From one voxel grid to another and back: a network's pixels, resampling, the rim of the brain."""
