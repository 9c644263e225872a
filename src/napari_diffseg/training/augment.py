"""Variety for slices: geometry and artefacts by MONAI, one random state a slice; modalities that are missing."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
import torch
from monai import transforms
from monai.data import get_track_meta, set_track_meta

if TYPE_CHECKING:
    from collections.abc import Iterator

Float = npt.NDArray[np.float32]

_DEVIATION = 0.3
"""Standard deviation of a brain's intensities, in units of their mean: about that of all four modalities."""


class Augmentation:
    """Changes one slice, its image and its mask together; what it does is a pure function of the seed.

    Geometry (mirror image, rotation of up to 12 degrees, scale of up to 15 %, shear, smooth deformation) is shared by
    all modalities; contrast, bias field, blur, resolution, scale, level and noise are drawn for each. Background (0)
    stays background.

    Parameters
    ----------
    kind : {"strong", "off"}
        off: modalities go missing, and nothing else happens.
    missing : float
        Probability that a modality is absent (all 0); one is always left.
    bias : float
        Strength of a bias field on the brightness that an image had before its z-score: the largest coefficient of its
        logarithm, a polynomial of second degree over the slice. 0: none.

    References
    ----------
    Cardoso et al. 2022, MONAI, arXiv:2211.02701.
    """

    def __init__(self, *, kind: Literal["strong", "off"], missing: float, bias: float = 0.0) -> None:
        self._missing = missing
        self._geometry = transforms.Compose(_geometry() if kind == "strong" else [])
        self._intensity = transforms.Compose(
            [*(_bias_field(bias) if bias else ()), *(_intensity() if kind == "strong" else ())]
        )

    def __call__(self, image: Float, mask: Float, *, seed: int) -> tuple[Float, Float]:
        """Change a slice.

        Parameters
        ----------
        image : ndarray, (I, H, W), float32
            Normalised, background 0; columns run left to right or right to left.
        mask : ndarray, (M, H, W), float32
            0 and 1, moved with the image.
        seed : int
            In [0, 2**32).
        """
        rng = np.random.default_rng(seed)
        with _plain_tensors():
            moved = self._seeded(self._geometry, rng)(
                {"image": torch.from_numpy(image), "mask": torch.from_numpy(mask)}
            )
            still = moved["image"]
            drawn = [self._seeded(self._intensity, rng)(channel[None]) for channel in still]
        changed = torch.where(still != 0, torch.cat(drawn), 0.0).numpy()
        return drop_modalities(changed, rng, missing=self._missing), (moved["mask"] > 0.5).float().numpy()

    @staticmethod
    def _seeded(transform: transforms.Compose, rng: np.random.Generator) -> transforms.Compose:
        return transform.set_random_state(seed=int(rng.integers(2**32)))


@contextmanager
def _plain_tensors() -> Iterator[None]:
    """MONAI without its record of what was done to each tensor, which takes 40 % of the time."""
    tracked = get_track_meta()
    set_track_meta(False)
    try:
        yield
    finally:
        set_track_meta(tracked)


def drop_modalities(image: Float, rng: np.random.Generator, *, missing: float) -> Float:
    """Set each modality of (I, H, W) to 0 with a probability; one, drawn evenly, always stays."""
    present = rng.random(len(image)) >= missing
    present[rng.integers(len(image))] = True
    return np.asarray(image * present[:, None, None], np.float32)


def _geometry() -> list[transforms.Transform]:
    both, modes = ("image", "mask"), ("bilinear", "nearest")
    return [
        transforms.RandFlipd(both, prob=0.5, spatial_axis=1),
        transforms.RandAffined(
            both,
            prob=0.7,
            rotate_range=0.21,
            shear_range=0.1,
            translate_range=4,
            scale_range=0.15,
            mode=modes,
            padding_mode="zeros",
        ),
        transforms.Rand2DElasticd(
            both, prob=0.2, spacing=(24, 24), magnitude_range=(0.5, 2.0), mode=modes, padding_mode="zeros"
        ),
    ]


def _bias_field(strength: float) -> list[transforms.Transform]:
    """A factor on the brightness, where `_intensity` has one on the z-score, which leaves the mean as it is."""
    return [
        transforms.Lambda(lambda z: 1 + _DEVIATION * z),
        transforms.RandBiasField(prob=0.6, degree=2, coeff_range=(-strength, strength)),
        transforms.Lambda(lambda brightness: (brightness - 1) / _DEVIATION),
    ]


def _intensity() -> list[transforms.Transform]:
    return [
        transforms.RandBiasField(prob=0.3, degree=2, coeff_range=(-0.15, 0.15)),
        transforms.RandAdjustContrast(prob=0.6, gamma=(0.65, 1.5)),
        transforms.RandScaleIntensity(prob=0.7, factors=(-0.25, 0.3)),
        transforms.RandStdShiftIntensity(prob=0.5, factors=0.3, nonzero=True),
        transforms.RandGaussianSmooth(prob=0.15, sigma_x=(0.4, 1.0), sigma_y=(0.4, 1.0)),
        transforms.RandSimulateLowResolution(prob=0.1, upsample_mode="bilinear", zoom_range=(0.5, 1.0)),
        transforms.RandGaussianNoise(prob=0.5, std=0.1),
    ]
