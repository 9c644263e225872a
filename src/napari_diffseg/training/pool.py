"""Slices as a network sees them, held in memory and trained on many times."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Pool:
    """Slices and their readers' masks.

    Attributes
    ----------
    images : ndarray, (N, modalities, H, W), float16
        Normalised over the whole phantom, in the recipe's order.
    masks : ndarray, (N, readers, H, W), uint8
        0 and 1.
    """

    images: npt.NDArray[np.float16]
    masks: npt.NDArray[np.uint8]

    def save(self, path: Path) -> None:
        """Write the pool as .npz."""
        np.savez(path, images=self.images, masks=self.masks)

    @classmethod
    def load(cls, path: Path) -> Pool:
        """Read a pool that `save` wrote."""
        with np.load(path, allow_pickle=False) as arrays:
            return cls(arrays["images"], arrays["masks"])
