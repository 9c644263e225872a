"""Harmless changes of a case: what another scanner, another preprocessing or another reader of the file might do."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy import ndimage as ndi

from napari_diffseg.synthesis.fields import smooth_field

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Float = npt.NDArray[np.float32]
Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Scene:
    """A case as a change takes it, all on one grid.

    Attributes
    ----------
    images : mapping of str to ndarray, (X, Y, Z), float32
        By modality, background 0.
    maps : mapping of str to ndarray, (X, Y, Z), float32
        In [0, 1]: the truth, what a network said of the case as it is. They move with the images.
    affine : ndarray, (4, 4), float64
        Voxel indices to RAS+ mm.
    """

    images: Mapping[str, Float]
    maps: Mapping[str, Float]
    affine: npt.NDArray[np.float64]

    @property
    def brain(self) -> Bool:
        """Where any image is not 0, (X, Y, Z)."""
        return np.asarray(np.any([image != 0 for image in self.images.values()], axis=0))

    @property
    def spacing_mm(self) -> tuple[float, ...]:
        """Of the voxels."""
        return tuple(float(s) for s in np.linalg.norm(self.affine[:3, :3], axis=0))

    def with_map(self, name: str, values: Float) -> Scene:
        """With one more map, (X, Y, Z)."""
        return replace(self, maps={**self.maps, name: values})

    def moved(self, move: Callable[[Float], Float], affine: npt.NDArray[np.float64]) -> Scene:
        """Images and maps moved alike."""
        return Scene({m: move(a) for m, a in self.images.items()}, {m: move(a) for m, a in self.maps.items()}, affine)

    def trimmed(self, margin: int) -> Scene:
        """The box around the brain and so many voxels more."""
        hit = [np.flatnonzero(self.brain.any(axis=tuple(a for a in range(3) if a != axis))) for axis in range(3)]
        box = tuple(slice(max(0, int(h[0]) - margin), int(h[-1]) + margin + 1) for h in hit)
        first = np.array([s.start for s in box], float)
        return self.moved(lambda a: np.ascontiguousarray(a[box]), _stepped(self.affine, np.ones(3), first=first))

    def kept(self, where: Bool) -> Scene:
        """Images that are 0 but here."""
        return replace(self, images={m: np.where(where, a, np.float32(0)) for m, a in self.images.items()})

    def each(self, change: Callable[[Float], Float], *only: str) -> Scene:
        """Some images changed within the brain (all by default); nothing there becomes 0."""
        changed = {m: _within(a, change(a)) if not only or m in only else a for m, a in self.images.items()}
        return replace(self, images=changed)


def _within(before: Float, after: Float) -> Float:
    inside = before != 0
    least = np.float32(1e-3 * np.abs(before).max())
    return np.where(inside, np.where(after == 0, least, after), 0).astype(np.float32)


def block_means(*factors: int) -> Callable[[Scene], Scene]:
    """Every voxel the mean of so many along each axis, as a coarser scan of the same head."""

    def change(scene: Scene) -> Scene:
        def move(array: Float) -> Float:
            shape = [n // f for n, f in zip(array.shape, factors, strict=True)]
            cut = array[tuple(slice(0, n * f) for n, f in zip(shape, factors, strict=True))]
            parts = [size for n, f in zip(shape, factors, strict=True) for size in (n, f)]
            return np.asarray(cut.reshape(parts).mean(axis=(1, 3, 5)), np.float32)

        middle = np.array([(f - 1) / 2 for f in factors])
        return scene.moved(move, _stepped(scene.affine, np.array(factors, float), first=middle))

    return change


def resampled(spacing_mm: float) -> Callable[[Scene], Scene]:
    """On voxels of another size, linearly."""

    def change(scene: Scene) -> Scene:
        step = spacing_mm / np.array(scene.spacing_mm)
        shape = tuple(int(n / s) for n, s in zip(scene.brain.shape, step, strict=True))

        def move(array: Float) -> Float:
            return ndi.affine_transform(array, step, output_shape=shape, order=1).astype(np.float32)

        return scene.moved(move, _stepped(scene.affine, step, first=np.zeros(3)))

    return change


def shifted(*voxels: float) -> Callable[[Scene], Scene]:
    """Moved by a part of a voxel, linearly; the affine says so."""

    def change(scene: Scene) -> Scene:
        def move(array: Float) -> Float:
            return ndi.shift(array, [-v for v in voxels], order=1).astype(np.float32)

        return scene.moved(move, _stepped(scene.affine, np.ones(3), first=np.array(voxels)))

    return change


def reversed_axis(axis: int) -> Callable[[Scene], Scene]:
    """Stored the other way round along an axis; the affine says so."""

    def change(scene: Scene) -> Scene:
        step, first = np.ones(3), np.zeros(3)
        step[axis], first[axis] = -1, scene.brain.shape[axis] - 1
        return scene.moved(lambda a: np.flip(a, axis), _stepped(scene.affine, step, first=first))

    return change


def mirrored(scene: Scene) -> Scene:
    """Another patient: left is right."""
    return scene.moved(lambda a: np.flip(a, 0), scene.affine)


def slab(scene: Scene) -> Scene:
    """A field of view of 60 mm about the lesion's middle: the rest of the head was not scanned."""
    lesion = np.flatnonzero((scene.maps["truth"] > 0.5).any(axis=(0, 1)))
    middle = int(lesion.mean()) if lesion.size else scene.brain.shape[2] // 2
    half = round(30 / scene.spacing_mm[2])
    first, last = max(0, middle - half), min(scene.brain.shape[2], middle + half)
    start = np.array([0.0, 0.0, first])
    return scene.moved(lambda a: a[..., first:last], _stepped(scene.affine, np.ones(3), first=start))


def rim(scene: Scene, factor: float) -> Scene:
    """The outermost voxel of the brain in each slice times a factor."""
    edge = scene.brain & (depth_mm(scene.brain, (1.0, 1.0, 1.0)) <= 1)
    return replace(
        scene, images={m: np.where(edge, a * np.float32(factor), a).astype(np.float32) for m, a in scene.images.items()}
    )


def tighter_brain(scene: Scene) -> Scene:
    """As another program strips the skull: 0 to 4 mm less, here more and there less."""
    brain = scene.brain
    rough = smooth_field(np.random.default_rng(3), brain.shape, length_mm=25, spacing_mm=scene.spacing_mm)
    return scene.kept(depth_mm(brain, scene.spacing_mm) > np.clip(1.5 + 1.2 * rough, 0, 4))


def depth_mm(brain: Bool, spacing_mm: tuple[float, ...]) -> Float:
    """How far within its slice (the last axis) each voxel is from what is not brain, (X, Y, Z), 0 outside."""
    depth = np.zeros(brain.shape, np.float32)
    for z in np.flatnonzero(brain.any(axis=(0, 1))):
        filled = np.pad(ndi.binary_fill_holes(brain[..., z]), 1)
        depth[..., z] = ndi.distance_transform_edt(filled, sampling=spacing_mm[:2])[1:-1, 1:-1]
    return depth


def uneven(scene: Scene) -> Scene:
    """A bias field of 20 % from one corner of the head to the other, in all images."""
    axes = np.meshgrid(
        *(np.linspace(-1, 1, n, dtype=np.float32) for n in scene.brain.shape), indexing="ij", sparse=True
    )
    field = 1 + np.float32(0.2) * np.sin(np.float32(np.pi / 2) * (axes[0] + axes[1] + axes[2]) / 2)
    return scene.each(lambda a: a * field)


def gamma(exponent: float) -> Callable[[Scene], Scene]:
    """Contrast of all images to a power."""

    def power(image: Float) -> Float:
        top = np.float32(np.percentile(image[image != 0], 99.9))
        return np.asarray(np.sign(image) * top * (np.abs(image) / top) ** exponent, np.float32)

    return lambda scene: scene.each(power)


def noisy(scene: Scene) -> Scene:
    """Gaussian noise of 5 % of the brain's mean."""
    rng = np.random.default_rng(5)

    def add(image: Float) -> Float:
        sd = 0.05 * float(np.abs(image[image != 0]).mean())
        return image + np.float32(sd) * rng.standard_normal(image.shape, dtype=np.float32)

    return scene.each(add)


def windowed(modality: str) -> Callable[[Scene], Scene]:
    """One image in 256 grey values from its 2nd to its 98th percentile, as a picture of it would have."""

    def grey(image: Float) -> Float:
        low, high = np.percentile(image[image != 0], [2, 98])
        return np.asarray(np.clip(np.round(255 * (image - low) / (high - low)), 1, 255), np.float32)

    return lambda scene: scene.each(grey, modality)


def without(modality: str) -> Callable[[Scene], Scene]:
    """One image is missing."""
    return lambda scene: replace(scene, images={m: a for m, a in scene.images.items() if m != modality})


def _stepped(
    affine: npt.NDArray[np.float64], step: npt.NDArray[np.float64], *, first: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """The affine of voxels that lie `step` apart from the old index `first` on."""
    moved = np.eye(4)
    moved[:3, :3], moved[:3, 3] = np.diag(step), first
    return affine @ moved


CHANGES: Mapping[str, Callable[[Scene], Scene]] = {
    "2 x 2 x 1 block means": block_means(2, 2, 1),
    "slices of 3 voxels": block_means(1, 1, 3),
    "slices of 5 voxels": block_means(1, 1, 5),
    "voxels of 0.8 mm": resampled(0.8),
    "voxels of 1.2 mm": resampled(1.2),
    "half a voxel aside": shifted(0.5, 0.5, 0.0),
    "slices stored the other way": reversed_axis(2),
    "columns stored the other way": reversed_axis(0),
    "mirror image": mirrored,
    "60 mm of the head": slab,
    "rim of one voxel half as bright": lambda scene: rim(scene, 0.5),
    "rim of one voxel cut": lambda scene: rim(scene, 0.0),
    "tighter brain mask": tighter_brain,
    "bias field of 20 %": uneven,
    "gamma 0.7": gamma(0.7),
    "gamma 1.4": gamma(1.4),
    "noise of 5 %": noisy,
    "flair in 256 grey values": windowed("flair"),
    "t1ce in 256 grey values": windowed("t1ce"),
    "without t1": without("t1"),
    "without t1ce": without("t1ce"),
    "without t2": without("t2"),
    "without flair": without("flair"),
}
"""By name; the slice axis is the last."""
