"""Variety for a batch of slices: mirror images, contrast, brightness, noise, missing modalities."""

from __future__ import annotations

import torch


def augment(
    image: torch.Tensor, mask: torch.Tensor, *, generator: torch.Generator, missing: float = 0.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Change each slice of a batch in its own way; background (0) stays background.

    Left and right are swapped in half of the slices (anatomy allows it); the intensity of each modality is scaled by
    0.75 to 1.3, moved by up to 0.3 and given Gaussian noise of up to 0.15.

    Parameters
    ----------
    image : Tensor, (B, I, H, W), float32
        Normalised to mean 0 and deviation 1 in the brain; columns run left to right or right to left.
    mask : Tensor, (B, M, H, W), float32
        Changed with the image where that moves pixels.
    generator : torch.Generator
        On the host.
    missing : float
        Probability that a modality is absent (all 0); one is always left.
    """
    b, channels = image.shape[:2]

    def uniform(low: float, high: float) -> torch.Tensor:
        return low + (high - low) * torch.rand(b, channels, 1, 1, generator=generator)

    flip = torch.rand(b, generator=generator) < 0.5
    image = torch.where(flip.view(-1, 1, 1, 1), image.flip(-1), image)
    mask = torch.where(flip.view(-1, 1, 1, 1), mask.flip(-1), mask)
    brain = image != 0
    noise = torch.randn(image.shape, generator=generator) * uniform(0, 0.15)
    image = image * uniform(0.75, 1.3) + uniform(-0.3, 0.3) + noise
    image = torch.where(brain, image, 0.0)
    if missing:
        present = torch.rand(b, channels, generator=generator) >= missing
        present[torch.arange(b), torch.randint(channels, (b,), generator=generator)] = True
        image = image * present.view(b, channels, 1, 1)
    return image, mask
