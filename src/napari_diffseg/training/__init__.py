"""Training a conditioned denoiser."""
