"""What a run is made of, frozen when it starts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_diffseg.plugin.grid.same_case import is_of_case

if TYPE_CHECKING:
    import weakref
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from pathlib import Path

    from napari.layers import Layer

    from napari_diffseg.events import SegmentRequest
    from napari_diffseg.imaging.case import Case
    from napari_diffseg.plugin.grid.frame import Frame


@dataclass(frozen=True, eq=False)
class RunPlan:
    """Everything a run needs, frozen when it starts: what happens to layers and controls later does not reach it.

    Attributes
    ----------
    case : Case
        The images, as they were in the layers.
    frame : Frame
        How the case's grid lies on the screen.
    checkpoint : str
        Path, or `demo`.
    overrides : mapping
        What the user says of the checkpoint against its recipe.
    request : SegmentRequest
        The settings, with the slice on the screen as its focus.
    folder : Path
        Where results are kept.
    resume : bool
        Whether members that are in the folder are taken over and only the others sampled.
    left_out : tuple of str
        Modalities of the checkpoint that the run does without.
    layers : tuple of weak references to Layer
        Those that the images were taken from.
    """

    case: Case
    frame: Frame
    checkpoint: str
    overrides: Mapping[str, Any]
    request: SegmentRequest
    folder: Path
    resume: bool = False
    left_out: tuple[str, ...] = ()
    layers: tuple[weakref.ref[Layer], ...] = ()

    def is_of(self, layers: Collection[Layer]) -> bool:
        """Whether layers that are chosen, or half of them at least, show the case that this run is of."""
        own = [
            layer for layer in layers if any(mine() is layer for mine in self.layers) or is_of_case(layer, self.case)
        ]
        return 2 * len(own) >= len(layers) > 0

    def open_layers(self, layers: Iterable[Layer]) -> dict[str, Layer]:
        """Those of some layers that show the images of this run, by modality."""
        found = {}
        for layer in layers:
            for name, volume in self.case.volumes.items():
                if isinstance(layer.data, np.ndarray) and np.may_share_memory(layer.data, volume.data):
                    found[name] = layer
        return found

    def slice_at(self, point: Sequence[float], slice_axis: int) -> int:
        """The source slice at a point in world coordinates, along the source axis `slice_axis`."""
        voxel = np.linalg.inv(self.frame.world) @ [*tuple(point)[-3:], 1.0]
        return self.frame.source_index(tuple(voxel), slice_axis)
