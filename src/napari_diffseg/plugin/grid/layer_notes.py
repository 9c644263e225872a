"""What the user should know of the grid that a layer's file lies on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_diffseg.appearance import sides_are_unknown
from napari_diffseg.plugin.grid.frame import METADATA_KEY

if TYPE_CHECKING:
    from napari.layers import Layer

    from napari_diffseg.plugin.grid.frame import Frame


def side_is_unknown(layer: Layer) -> bool:
    """Whether nobody knows which side of a layer is the patient's left."""
    return sides_are_unknown(notes_of(layer))


def notes_of(layer: Layer) -> list[str]:
    """Sentences about a layer's grid; none for a layer that did not come through our reader, or of a plain one."""
    frame: Frame | None = layer.metadata.get(METADATA_KEY)
    if frame is None:
        return []
    oblique = ["The images lie obliquely: they are shown along their own axes, and written exactly."]
    return [*frame.volume.notes, *(oblique if frame.is_oblique else [])]
