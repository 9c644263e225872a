"""Images of one case move together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from weakref import WeakSet

import numpy as np

from napari_diffseg.plugin.adding import bare
from napari_diffseg.plugin.frame import METADATA_KEY, RESULT_KEY, Frame
from napari_diffseg.plugin.layer_volume import matrix_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from napari.layers import Layer

_LINKED: Final = ("scale", "translate", "rotate", "shear", "affine")


class Linking:
    """Links what our reader opened from one folder, where it lies on one grid: who moves one, moves all.

    Their contrast stays each image's own, because the intensities of two modalities cannot be compared. Each layer is
    linked once, when it comes, so whoever unlinks it in napari's menu has it unlinked.
    """

    def __init__(self) -> None:
        self._seen: WeakSet[Any] = WeakSet()

    def follow(self, layers: Iterable[Layer]) -> None:
        """Link the layers that are new with those that were there."""
        from napari.experimental import link_layers

        there = [bare(layer) for layer in layers]
        for layer in there:
            if layer in self._seen:
                continue
            alike = [other for other in there if other in self._seen and _are_alike(layer, other)]
            self._seen.add(layer)
            for other in alike:
                link_layers([other, layer], _LINKED)


def _are_alike(one: Layer, other: Layer) -> bool:
    folder = _folder(one)
    return folder is not None and folder == _folder(other) and np.allclose(matrix_of(one), matrix_of(other))


def _folder(layer: Layer) -> Path | None:
    """Where the layer's file lies; None for results, and for layers that no file of ours lies behind."""
    frame = layer.metadata.get(METADATA_KEY)
    if not isinstance(frame, Frame) or RESULT_KEY in layer.metadata or layer.ndim != 3:
        return None
    return None if frame.volume.path is None else frame.volume.path.parent
