"""The layer of the mask that a rule makes of the members, until somebody paints in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from napari_diffseg.plugin.layers.layer_array import LayerArray

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from napari_diffseg.plugin.grid.frame import Frame
    from napari_diffseg.plugin.layers.edited_layer import Mask

_PAINTING: Final = ("paint", "erase", "fill", "polygon")
"""Modes of a Labels layer in which a click changes it."""


@dataclass(eq=False)
class MaskLayer(LayerArray):
    """A mask that ours alone write to; the first stroke takes the layer away from us.

    While a mouse button is held over it with a brush, nothing is written either: napari's history of the stroke would
    bring back what was there when it began.

    Attributes
    ----------
    frame : Frame
        How its grid lies on the screen.
    edited : callable (base)
        Somebody has painted; `base` is a copy of the mask before, label numbers (X, Y, Z).
    released : callable
        The button was released and nothing was painted.
    is_held : bool
        Whether a stroke may be on its way.
    """

    frame: Frame
    edited: Callable[[Mask], None]
    released: Callable[[], None]
    is_held: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self.layer.events.paint.connect(self._painted)
        self.layer.events.data.connect(self._replaced)
        self.layer.mouse_drag_callbacks.append(self._drag)

    def _drag(self, layer: Any, _event: Any) -> Iterator[None]:
        if str(layer.mode) not in _PAINTING:
            return
        self.is_held = True
        try:
            yield
            while _event.type == "mouse_move":
                yield
        finally:
            if self.is_held:
                self.is_held = False
                self.released()

    def _painted(self, event: Any) -> None:
        base = np.array(self.array)
        shown = self.frame.to_display(base)
        for atom in reversed(event.value):  # what napari would undo: some of it has been written, some is about to be
            _undo(shown, atom)
        self._give_away(base)

    def _replaced(self, _event: Any) -> None:
        """Somebody has given the layer another array, as a filter of another plugin does."""
        if np.shape(self.layer.data) == self.frame.shape:
            self._give_away(np.array(self.array))

    def _give_away(self, base: Mask) -> None:
        self.is_held = False
        self.layer.events.paint.disconnect(self._painted)
        self.layer.events.data.disconnect(self._replaced)
        if self._drag in self.layer.mouse_drag_callbacks:
            self.layer.mouse_drag_callbacks.remove(self._drag)
        self.edited(base)


def _undo(shown: Any, atom: Any) -> None:
    """Take back one change in an array as it is shown, as napari's history keeps it: by indices, or by a mask."""
    if not hasattr(atom, "slice_key"):
        indices, before, _ = atom
        shown[indices] = before
    elif atom.mask is None:
        shown[atom.slice_key] = atom.old_values
    else:
        shown[atom.slice_key][atom.mask] = atom.old_values
