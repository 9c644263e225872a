"""Phantoms that no training has seen, encoded and thinned out, with what is known about their readers."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt

from napari_diffseg.encode import encode
from napari_diffseg.evaluation.metrics.region import region_around
from napari_diffseg.imaging.case import Case
from napari_diffseg.imaging.volume import Volume
from napari_diffseg.synthesis.phantom import Phantom, PhantomSettings, make_phantom

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

    from napari_diffseg.imaging.geometry.grid import Grid
    from napari_diffseg.imaging.geometry.rim import Rim
    from napari_diffseg.recipe import Recipe
    from napari_diffseg.synthesis.settings import PhantomFamily, PhantomKind

Bool = npt.NDArray[np.bool_]
Scalar = TypeVar("Scalar", bound=np.generic)

FIRST_SEED = 900_000
"""Training draws from 1000 on; these are far from it."""

READERS = 16
_SHAPE, _SPACING_MM = (120, 120, 39), (2.0, 2.0, 4.0)
_KINDS: tuple[PhantomKind, ...] = ("glioma", "glioma", "glioma", "lowgrade")
_CONTRASTS = (0.15, 0.3, 0.5, 0.8)
_SEEN = 1e-3


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Every k-th slice of one phantom that holds brain.

    Attributes
    ----------
    name : str
        Kind and seed.
    image : Tensor, (S, modalities, rows, columns), float32
        As the network takes it.
    grid : Grid
        The way back to the phantom's voxels.
    rim : Rim or None
        What of the brain the network is not shown.
    slices : tuple of int
        The S source slices.
    spacing_mm : tuple of float
        Voxel size along the phantom's axes.
    readers : ndarray, (R, S, U, V), bool
        Drawn independently, none of them seen by a training.
    probability : ndarray, (S, U, V), float32
        Exact probability that a reader marks a voxel.
    brain, near : ndarray, (S, U, V), bool
        Brain; what lies within 20 mm of anything that a reader might mark (the whole where nobody might).
    digest : str
        Of image and probability: another phantom, another digest.
    """

    name: str
    image: torch.Tensor
    grid: Grid
    rim: Rim | None
    slices: tuple[int, ...]
    spacing_mm: tuple[float, float, float]
    readers: Bool
    probability: npt.NDArray[np.float32]
    brain: Bool
    near: Bool
    digest: str

    @property
    def truth(self) -> Bool:
        """(S, U, V), the average reader's mask: what more than half of all readers mark."""
        return np.asarray(self.probability > 0.5)


def held_out(
    recipe: Recipe,
    *,
    count: int,
    every: int,
    first: int = FIRST_SEED,
    randomise: float | None = None,
    readers: int = READERS,
    ambiguity: float | None = None,
    family: PhantomFamily = "grown",
) -> Iterator[HeldOut]:
    """`count` phantoms of the kinds and contrasts that a training draws, each with every `every`-th slice.

    Parameters
    ----------
    recipe : Recipe
        Encodes them.
    count : int
        How many.
    every : int
        Keep one slice in so many.
    first : int
        Seed of the first.
    randomise : float, optional
        Contrasts of all, from plausible (0) to any (1), at which a lesion may not be visible at all. By default in
        turn, as a training has them.
    readers : int
        Drawn of each.
    ambiguity : float, optional
        Over how wide a boundary readers of all differ; by default drawn for each.
    family : {"grown", "mixture"}
        How they are drawn.
    """
    for n in range(count):
        settings = replace(_settings(n, first + n, readers=readers), ambiguity=ambiguity, family=family)
        if randomise is not None:
            settings = replace(settings, randomise=randomise)
        yield _held_out(make_phantom(settings), recipe, every)


def reader_slices(recipe: Recipe, *, seed: int, every: int) -> tuple[npt.NDArray[np.float16], npt.NDArray[np.uint8]]:
    """Slices of another phantom to train on, and four readers' masks of them, both as a network sees them.

    Returns
    -------
    images : ndarray, (S, modalities, rows, columns), float16
    masks : ndarray, (S, 4, rows, columns), uint8
        0 and 1.
    """
    phantom = make_phantom(_settings(seed, seed, readers=4))
    coding = encode(phantom_case(phantom, str(seed)), recipe, choose=lambda n: range(seed % every, n, every))
    masks = [coding.grid.to_model(r.astype(np.float32), slices=coding.sampled) > 0.5 for r in phantom.readers]
    return coding.image.numpy().astype(np.float16), np.stack(masks, axis=1).astype(np.uint8)


def _settings(n: int, seed: int, *, readers: int) -> PhantomSettings:
    """The n-th phantom: kinds and contrasts in turn, so that a handful has all of them."""
    return PhantomSettings(
        kind=_KINDS[n % len(_KINDS)],
        seed=seed,
        shape=_SHAPE,
        spacing_mm=_SPACING_MM,
        readers=readers,
        randomise=_CONTRASTS[(n + n // len(_CONTRASTS)) % len(_CONTRASTS)],
        artefacts=0.6,
    )


def phantom_case(phantom: Phantom, case_id: str) -> Case:
    """A phantom's images as a case."""
    return Case(case_id, {m: Volume(data, phantom.affine, None, None, ()) for m, data in phantom.volumes.items()}, None)


def _held_out(phantom: Phantom, recipe: Recipe, every: int) -> HeldOut:
    settings = phantom.settings
    name = f"{settings.kind}-{settings.seed}"
    coding = encode(phantom_case(phantom, name), recipe, choose=lambda n: range(every // 2, n, every))
    axis = coding.grid.slice_axis

    def slab(volume: npt.NDArray[Scalar]) -> npt.NDArray[Scalar]:
        return np.moveaxis(volume, axis, 0)[list(coding.sampled)]

    brain = np.any([v != 0 for v in phantom.volumes.values()], axis=0)
    near = region_around(phantom.probability > _SEEN, settings.spacing_mm).mask
    digest = hashlib.sha256(coding.image.numpy().tobytes() + slab(phantom.probability).tobytes())
    return HeldOut(
        name=name,
        image=coding.image,
        grid=coding.grid,
        rim=coding.rim,
        slices=coding.sampled,
        spacing_mm=settings.spacing_mm,
        readers=np.stack([slab(r) > 0 for r in phantom.readers]),
        probability=slab(phantom.probability).astype(np.float32),
        brain=np.asarray(slab(brain), np.bool_),
        near=np.asarray(slab(near & brain), np.bool_),
        digest=digest.hexdigest()[:16],
    )
