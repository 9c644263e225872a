"""The box around what is inside, and its holes, plane by plane."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage as ndi

Bool = npt.NDArray[np.bool_]


def box_around(inside: Bool, *, margin: int = 0) -> tuple[slice, ...]:
    """The box that holds all that is inside, and so much more to each side where there is more; () around nothing."""
    box = []
    for axis, n in enumerate(inside.shape):
        hit = np.flatnonzero(inside.any(axis=tuple(other for other in range(inside.ndim) if other != axis)))
        if not hit.size:
            return ()
        box.append(slice(max(0, int(hit[0]) - margin), min(n, int(hit[-1]) + 1 + margin)))
    return tuple(box)


def fill_holes(planes: Bool) -> Bool:
    """What `scipy.ndimage.binary_fill_holes` makes of each plane (S, U, V), several times as fast."""
    filled = planes.copy()
    for plane, out in zip(planes, filled, strict=True):
        background, count = ndi.label(~plane)
        edges = np.concatenate([background[0], background[-1], background[:, 0], background[:, -1]])
        open_to_edge = np.zeros(count + 1, np.bool_)
        open_to_edge[edges] = True
        if not open_to_edge[1:].all():
            out |= ~open_to_edge[background]
    return filled
