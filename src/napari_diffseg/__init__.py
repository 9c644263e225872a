"""Brain-lesion segmentation with its uncertainty, by a conditioned diffusion ensemble."""
