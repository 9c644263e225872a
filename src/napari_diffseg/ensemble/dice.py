"""Dice of two masks, for members as they come and for masks against ground truth."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Bool = npt.NDArray[np.bool_]


def dice_of_counts(both: int, first: int, second: int) -> float:
    """Dice of two masks from their voxel counts and that of their intersection; 1 when both are empty."""
    return 1.0 if first + second == 0 else 2 * both / (first + second)


def dice(a: Bool, b: Bool) -> float:
    """Dice of two masks of one shape, in [0, 1]; 1 when both are empty.

    References
    ----------
    Dice 1945, Ecology 26(3), doi:10.2307/1932409.
    """
    return dice_of_counts(int((a & b).sum()), int(a.sum()), int(b.sum()))
