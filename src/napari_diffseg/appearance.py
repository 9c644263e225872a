"""How results look, in the panel and in reports alike: colours, transparency, and which way up a slice stands."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

AXIS_LABELS: Final = ("I", "P", "L")
"""Directions in which upright axes increase: each slice down or to the right; two of them span every plane."""

LABEL_COLORS: Final = ("#00e676", "#40a0ff", "#ffd740", "#ff80ab", "#b388ff", "#ffffff")
"""Of the masks of labels 1, 2, 3 ...: no hue of the maps, and told apart by people who see red and green alike."""
MASK_COLOR: Final = LABEL_COLORS[0]
"""Colour of the first label's mask."""
EDITED_COLOR: Final = "#ff4081"
"""Colour of the first label in a mask that was corrected by hand."""
_PART_COLORS: Final = {
    "whole": MASK_COLOR,
    "oedema": MASK_COLOR,
    "core": "#ff1744",
    "rest of core": "#ff1744",
    "enhancing": "#ffea00",
    "cavity": "#40a0ff",
}
"""Of parts of a brain tumour, as figures of BraTS and ITK-SNAP show them: oedema green, core red, enhancing yellow."""

AGREEMENT: Final = {0.05: "#40a0ff", 0.5: "#ffffff", 0.95: "#ffd740"}
"""Share of the members whose outline is drawn, and its colour."""
AGREEMENT_NAMES: Final = ("blue", "white", "yellow")
"""What these colours are called."""

MEAN_COLORMAP: Final = "magma"
UNCERTAINTY_COLORMAP: Final = "inferno"
MAP_OPACITY: Final = 0.85
_OPAQUE_FROM: Final = 0.2
"""Share of a map's range from which its colours cover the image."""

_UNKNOWN_SIDES: Final = "left/right unknown"
"""How the readers' note begins where a file's header states no orientation."""


class Convention(StrEnum):
    """How slices from left to right are shown."""

    RADIOLOGICAL = "radiological"
    """As from the feet: the patient's left on the right of the screen."""
    NEUROLOGICAL = "neurological"
    """As from above: left on the left."""


def region_colors(parts: Sequence[str | None]) -> tuple[str, ...]:
    """Colours of mask channels: of a brain tumour's parts as viewers of BraTS have them, of others in their order.

    Parameters
    ----------
    parts : sequence of str or None
        Which part each is, as `regions.part_named` tells it.
    """
    if len(parts) > 1 and all(part in _PART_COLORS for part in parts):
        return tuple(_PART_COLORS[part] for part in parts if part is not None)
    return tuple(LABEL_COLORS[n % len(LABEL_COLORS)] for n in range(len(parts)))


def direction_of(label: str, convention: Convention) -> str:
    """Where on the screen, `right` or `left`, an axis has to point that increases towards `label`, L or R."""
    return "right" if (label == "L") == (convention is Convention.RADIOLOGICAL) else "left"


def sides_are_unknown(notes: Iterable[str]) -> bool:
    """Whether an image's notes say that nobody knows which side of it is the patient's left."""
    return any(note.startswith(_UNKNOWN_SIDES) for note in notes)


def clear_at_zero(colors: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Colours of a map that is clear where it is zero, so that the image below stays as it is.

    Parameters
    ----------
    colors : ndarray, (N, 4)
        Red, green, blue and opacity in [0, 1], from the lowest value to the highest; the opacity is replaced.
    """
    clear = np.array(colors, np.float64)
    clear[:, 3] = np.clip(np.linspace(0, 1 / _OPAQUE_FROM, len(clear)), 0, 1)
    return clear
