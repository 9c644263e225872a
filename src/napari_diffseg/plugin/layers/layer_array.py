"""An array and the layer that shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy.typing as npt
    from napari.layers import Layer


@dataclass(eq=False)
class LayerArray:
    """An array in source order (..., X, Y, Z) and the layer that shows a view of it."""

    array: npt.NDArray[Any]
    layer: Layer

    def redraw(self) -> None:
        """Draw what has changed in place, without extent, thumbnail and highlight, which cost more than the slice."""
        self.layer.refresh(extent=False, thumbnail=False, highlight=False)
