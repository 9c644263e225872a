"""How bright each tissue is in each modality, and how that differs between patients and scanners."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_diffseg.synthesis.settings import MODALITIES, ModalityName
from napari_diffseg.synthesis.tissues import Tissue

if TYPE_CHECKING:
    from napari_diffseg.synthesis.fields import Float32Array
    from napari_diffseg.synthesis.settings import PhantomSettings

# Relative to white matter:           csf   grey  white core  cyst  enh.  oedema vessel cap  other
_MEANS: dict[ModalityName, tuple[float, ...]] = {
    "t1": (0.52, 0.80, 1.00, 0.66, 0.56, 0.86, 0.88, 0.85, 0.92, 1.00),
    "t1ce": (0.55, 0.85, 1.00, 0.68, 0.56, 1.50, 0.90, 1.80, 0.93, 1.20),
    "t2": (2.20, 1.38, 1.00, 2.00, 2.35, 1.70, 1.55, 0.85, 1.30, 1.20),
    "flair": (0.52, 1.08, 1.00, 1.75, 1.00, 1.85, 1.75, 0.80, 1.35, 1.25),
}

# Spread (of the logarithm) between scans, by tissue.
_SPREAD: dict[ModalityName, tuple[float, ...]] = {
    "t1": (0.20, 0.06, 0, 0.15, 0.20, 0.12, 0.10, 0.2, 0.05, 0.5),
    "t1ce": (0.18, 0.06, 0, 0.18, 0.20, 0.22, 0.10, 0.3, 0.05, 0.5),
    "t2": (0.12, 0.08, 0, 0.18, 0.12, 0.18, 0.12, 0.3, 0.08, 0.5),
    "flair": (0.20, 0.08, 0, 0.20, 0.30, 0.20, 0.15, 0.3, 0.10, 0.5),
}

# Exponent that a wetter or drier lesion puts on its contrast to white matter.
_GAMMA: dict[ModalityName, tuple[float, float]] = {
    "t1": (1.0, 0.30),
    "t1ce": (1.0, 0.20),
    "t2": (1.1, 0.30),
    "flair": (0.95, 0.30),
}

_WATERY = (Tissue.CORE, Tissue.ENHANCING, Tissue.OEDEMA)
_WET = 0.3
# Spread of the exponent that each part of a lesion has of its own, in all modalities and in each: a bright core may
# have a faint oedema, and a lesion that is plain in T2 may hardly be seen in FLAIR.
_PART, _PART_IN_MODALITY = np.array([0.25, 0.25, 0.40]), 0.3
# A lesion without contrast in any modality teaches nothing; oedema about a core that is seen may be faint.
_FAINTEST = np.array([-0.4, -0.4, -0.9])
_RANDOM_SPREAD = 0.30
_FORGOTTEN_ABOVE = 0.5
_FORGOTTEN_RANGE = (0.1, 2.0)


def draw_contrasts(rng: np.random.Generator, settings: PhantomSettings) -> dict[ModalityName, Float32Array]:
    """Mean intensity of each `Tissue` relative to white matter, (len(Tissue),) float32, by modality.

    How watery the lesions are is common to all modalities; contrast (a power of the intensities), tissue means and,
    towards `randomise` = 1, the whole table differ between them.
    """
    wet = rng.normal(0, _WET) + rng.normal(0, 1, len(_WATERY)) * _PART
    contrasts = {}
    for modality in MODALITIES:
        means = np.array(_MEANS[modality]) * np.exp(rng.normal(0, 1, len(Tissue)) * _SPREAD[modality])
        own = wet + rng.normal(0, _PART_IN_MODALITY, len(_WATERY))
        means[list(_WATERY)] = means[list(_WATERY)] ** np.exp(np.maximum(own, _FAINTEST))
        centre, spread = _GAMMA[modality]
        means = means ** (centre * np.exp(rng.normal(0, spread)))
        means *= np.exp(rng.normal(0, _RANDOM_SPREAD * settings.randomise, len(Tissue)))
        forget = rng.random() < settings.randomise - _FORGOTTEN_ABOVE
        forgotten = rng.uniform(*_FORGOTTEN_RANGE, len(Tissue))
        contrasts[modality] = (forgotten if forget else means).astype(np.float32)
    return contrasts
