"""What of a run is on the screen at one moment, and where its voxels lie there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_diffseg.regions import masks_of_channels, outermost_first

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt
    from napari.layers import Layer

    from napari_diffseg.ensemble.ensemble import Ensemble
    from napari_diffseg.ensemble.summary import Summary
    from napari_diffseg.ensemble.whole_members import WholeMembers
    from napari_diffseg.events import Started
    from napari_diffseg.plugin.grid.frame import Frame
    from napari_diffseg.plugin.layers.edited_layer import EditedLayer

Voxel = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class ResultView:
    """The run that is shown, how it is summed up, and its layers, as of the moment it was asked for.

    Attributes
    ----------
    prefix : str
        How the names of the run's layers begin, `diffseg 1`.
    started : Started
        What the run covers.
    frame : Frame
        How its grid lies on the screen.
    ensemble : Ensemble
        Its members; the run goes on adding to it.
    summary : Summary
        How they are summed up, with rule and smoothing of the run's checkpoint where nothing else was chosen.
    first : int or None
        How many of them are asked, those with the lowest numbers; None is all.
    region : int or None
        The mask channel that is measured and whose maps are in sight; None is all together.
    mean, uncertainty, probability : tuple of Layer
        The maps, one for each label; the user may have removed them from the viewer. No probability without smoothing.
    mask : Layer
        The mask that the rule makes.
    edited : tuple of EditedLayer
        Corrections of it that are in the viewer.
    measured : EditedLayer or None
        The one that volume, lesions and Dice are of; None where that is the rule's mask.
    members : mapping of int to Layer
        The layer of each member that has come, by its number; empty where they share one.
    together : Layer or None
        The layer that they share.
    """

    prefix: str
    started: Started
    frame: Frame
    ensemble: Ensemble
    summary: Summary
    first: int | None
    region: int | None
    mean: tuple[Layer, ...]
    uncertainty: tuple[Layer, ...]
    probability: tuple[Layer, ...]
    mask: Layer
    edited: tuple[EditedLayer, ...]
    measured: EditedLayer | None
    members: Mapping[int, Layer]
    together: Layer | None

    @property
    def maps_of(self) -> tuple[int, ...]:
        """Mask channels whose maps are shown; of all regions together the one that holds the others, if one does."""
        regions = self.started.regions
        if self.region is not None:
            return (self.region,)
        outer = outermost_first(regions)[0]
        holds_all = all(set(r.values) <= set(regions[outer].values) for r in regions) and regions[outer].values
        return (outer,) if holds_all else tuple(range(len(regions)))

    @property
    def mean_in_sight(self) -> tuple[Layer, ...]:
        """The maps of the mean that are of what is shown."""
        return tuple(self.mean[c] for c in self.maps_of)

    def whole_members(self) -> WholeMembers:
        """The members that are final on all slices, of the region that is measured."""
        return self.ensemble.whole_members(first=self.first).of_region(self.region)

    def lesion_of(self, masks: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Of masks (labels, ...) the one that is measured, (...)."""
        return np.asarray(masks.any(axis=0) if self.region is None else masks[self.region])

    def corrected(self) -> npt.NDArray[np.bool_] | None:
        """The correction that is measured, (X, Y, Z), of the region that is; None where the rule's mask is."""
        if self.measured is None:
            return None
        if self.region is None:
            return np.asarray(self.measured.mask > 0)
        return self.lesion_of(masks_of_channels(self.measured.mask, self.started.regions))

    @property
    def voxel_mm3(self) -> float:
        """Volume of a source voxel in mm3."""
        return self.frame.volume.voxel_mm3

    def voxel_at(self, point: Sequence[float]) -> Voxel | None:
        """The source voxel at a point of napari's world, None outside the volume; only the last three axes count."""
        display = np.asarray(self.mask.world_to_data(tuple(point)[-3:]))
        if np.any(display < -0.5) or np.any(display >= np.array(self.frame.shape) - 0.5):
            return None
        x, y, z = (self.frame.source_index(tuple(display), axis) for axis in range(3))
        return x, y, z

    def point_of(self, voxel: Voxel) -> tuple[float, float, float]:
        """The centre of a source voxel in napari's world."""
        display = [0.0, 0.0, 0.0]
        for axis, index in enumerate(voxel):
            for d, offset in enumerate(self.frame.slab_offset(axis, index)):
                display[d] += offset
        a, b, c = self.mask.data_to_world(display)
        return float(a), float(b), float(c)

    def votes_at(self, voxel: Voxel) -> tuple[tuple[int, ...], int] | None:
        """Votes of each label on a voxel, and how many members voted; None where the run has not been asked."""
        axis = self.started.slice_axis
        if voxel[axis] not in self.started.slices:
            return None
        votes, count = self.ensemble.votes_slice(voxel[axis], first=self.first)
        u, v = (index for a, index in enumerate(voxel) if a != axis)
        return tuple(int(n) for n in votes[:, u, v]), count

    def is_in_window(self, voxel: Voxel) -> bool:
        """Whether a voxel lies in the part of its slice that the run was asked for."""
        if self.started.window is None:
            return True
        place = (index for axis, index in enumerate(voxel) if axis != self.started.slice_axis)
        return all(low <= index < high for index, (low, high) in zip(place, self.started.window, strict=True))

    def probabilities_at(self, voxel: Voxel) -> tuple[float | None, ...]:
        """The smoothed probability of each label that is drawn at a voxel of the run, or None without smoothing."""
        if self.ensemble.smoothing.is_none or not self.probability:
            return (None,) * len(self.started.labels)
        return tuple(float(self.frame.to_source(np.asarray(layer.data))[voxel]) for layer in self.probability)
