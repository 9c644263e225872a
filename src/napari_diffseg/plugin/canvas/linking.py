"""Images of one case move together."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakSet

import numpy as np

from napari_diffseg.plugin.canvas.add_layer import bare
from napari_diffseg.plugin.grid.frame import METADATA_KEY, RESULT_KEY, Frame
from napari_diffseg.plugin.grid.layer_volume import matrix_of
from napari_diffseg.plugin.grid.same_case import are_one_case

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from napari.layers import Layer

_LINKED: Final = ("scale", "translate", "rotate", "shear", "affine")
_ENOUGH: Final = 4
"""Links of a new layer, each of which takes napari half a millisecond; what these are linked with moves along."""

_seen: WeakSet[Any] = WeakSet()


def link_new(layers: Iterable[Layer]) -> None:
    """Link what our reader opened of one case, where it lies on one grid: who moves one, moves all.

    Their contrast stays each image's own, because the intensities of two modalities cannot be compared. Each layer is
    linked once, when it comes, or when the first panel finds it, so whoever unlinks it in napari's menu has it
    unlinked, also for the next panel.
    """
    from napari.experimental import link_layers

    before: list[Layer] = []
    new: list[Layer] = []
    for layer in map(bare, layers):
        if _is_ours(layer):
            (before if layer in _seen else new).append(layer)
    for layer in new:
        for other in islice(_alike(layer, before), _ENOUGH):
            link_layers([other, layer], _LINKED)
        before.append(layer)
        _seen.add(layer)


def _alike(layer: Layer, others: Sequence[Layer]) -> Iterator[Layer]:
    """Those of the layer's case that lie where it does, the last first."""
    matrix = matrix_of(layer)
    return (o for o in reversed(others) if are_one_case(layer, o) and np.allclose(matrix, matrix_of(o)))


def _is_ours(layer: Layer) -> bool:
    """Whether a file of ours lies behind a layer, and it is no result."""
    frame = layer.metadata.get(METADATA_KEY)
    is_read = isinstance(frame, Frame) and frame.volume.path is not None
    return is_read and RESULT_KEY not in layer.metadata and layer.ndim == 3
