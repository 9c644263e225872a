"""The second family of phantoms: tissue as Gaussian mixtures, lesions carried along by a random flow.

It shares the average brain and the readers with the first, and nothing that a network could learn of how lesions grow
or how tissue looks: what gets better on one family and worse on the other is the generator's and not the patient's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy import ndimage as ndi

from napari_diffseg.synthesis.fields import Float32Array, smooth_field
from napari_diffseg.synthesis.lesions import FAR, Lesions, confine

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_diffseg.synthesis.acquisition import Scan
    from napari_diffseg.synthesis.anatomy import Anatomy
    from napari_diffseg.synthesis.seeds import LesionSeed
    from napari_diffseg.synthesis.settings import ModalityName, PhantomKind, ReaderModel

Range = tuple[float, float]

_FLOW_MM: Range = (6.0, 14.0)
_FLOW_LENGTH_MM: Range = (14.0, 30.0)
_SQUARINGS = 3
_CLUSTERS = (2, 5)
_CLUSTER_LENGTH_MM: Range = (6.0, 25.0)
_CLUSTER_SPREAD = 0.07
# Intensity of csf, grey and white matter, each anywhere in its range.
_TISSUE: Mapping[ModalityName, tuple[Range, Range, Range]] = {
    "t1": ((0.2, 0.6), (0.55, 0.9), (0.8, 1.1)),
    "t1ce": ((0.2, 0.6), (0.6, 0.95), (0.8, 1.1)),
    "t2": ((1.4, 2.6), (1.0, 1.5), (0.7, 1.1)),
    "flair": ((0.2, 0.65), (0.85, 1.25), (0.7, 1.1)),
}
# Factor of oedema, core and enhancing core on the tissue that is there.
_LESION: Mapping[ModalityName, tuple[Range, Range, Range]] = {
    "t1": ((0.7, 0.98), (0.5, 0.95), (0.7, 1.2)),
    "t1ce": ((0.7, 0.98), (0.5, 0.9), (1.3, 2.4)),
    "t2": ((1.15, 1.8), (1.2, 2.2), (1.0, 1.9)),
    "flair": ((1.15, 2.0), (0.9, 2.2), (1.2, 2.2)),
}
_SCALE: Range = (150.0, 1500.0)
_LARGEST = 32_000


def advect_lesions(
    rng: np.random.Generator,
    seeds: tuple[LesionSeed, ...],
    *,
    anatomy: Anatomy,
    kind: PhantomKind,
    spacing_mm: tuple[float, float, float],
) -> Lesions:
    """Ellipsoids carried along by a random flow: folded, without regard to white matter.

    References
    ----------
    Liu et al. 2025, "Unraveling normal anatomy via fluid-driven anomaly randomization", arXiv:2501.13370, for the idea.
    """
    far = np.full(anatomy.shape, FAR, np.float32)
    if not seeds:
        return Lesions(far, far, far, np.zeros_like(far))
    coords = anatomy.coords_mm + _flow(rng, anatomy.shape, spacing_mm=spacing_mm)
    distances = [seed.distance_mm(coords) for seed in seeds]
    radii = np.minimum.reduce([d / np.float32(s.radius_mm) for d, s in zip(distances, seeds, strict=True)])
    reach = np.minimum.reduce([d / np.float32(s.reach_mm) for d, s in zip(distances, seeds, strict=True)])
    if kind == "ms":
        return Lesions(confine(reach, anatomy, core=far) - 1, far, far, np.zeros_like(far))
    boundary = confine(np.minimum(reach, radii), anatomy, core=radii) - 1
    hollow = smooth_field(rng, anatomy.shape, length_mm=10, spacing_mm=spacing_mm)
    necrosis = radii * np.exp(0.4 * hollow) + np.float32(rng.uniform(0.1, 0.6))
    patches = smooth_field(rng, anatomy.shape, length_mm=12, spacing_mm=spacing_mm)
    takes_up = rng.random() < (0.8 if kind == "glioma" else 0.2)
    enhancing = np.clip(patches + np.float32(rng.uniform(0, 2)), 0, 1) if takes_up else np.zeros_like(far)
    core = np.where(anatomy.brain, radii, FAR)
    return Lesions(boundary, core, necrosis.astype(np.float32), enhancing.astype(np.float32))


def _flow(
    rng: np.random.Generator, shape: tuple[int, int, int], *, spacing_mm: tuple[float, float, float]
) -> Float32Array:
    """Displacement (3, X, Y, Z) in mm of a smooth velocity that has acted for a while: one to one, and curled."""
    amount, length = rng.uniform(*_FLOW_MM), rng.uniform(*_FLOW_LENGTH_MM)
    velocity = [smooth_field(rng, shape, length_mm=length, spacing_mm=spacing_mm) for _ in range(3)]
    moved: Float32Array = np.stack(velocity) * np.float32(amount / 2**_SQUARINGS)
    index = np.stack(np.meshgrid(*(np.arange(n, dtype=np.float32) for n in shape), indexing="ij"))
    scale = np.reshape(spacing_mm, (3, 1, 1, 1)).astype(np.float32)
    for _ in range(_SQUARINGS):
        where = index + moved / scale
        moved = moved + np.stack([ndi.map_coordinates(u, where, order=1, mode="nearest") for u in moved])
    return moved


@dataclass(frozen=True, eq=False)
class Mixture:
    """What the modalities of a phantom share: clusters of tissue, and how much of each voxel is which part of a lesion.

    Attributes
    ----------
    cluster : ndarray, (X, Y, Z), intp
        0 to K - 1.
    tissue : ndarray, (K,), intp
        Of each cluster: 0 CSF, 1 grey, 2 white matter.
    parts : ndarray, (3, X, Y, Z), float32
        Oedema, core, enhancing core: shares of the voxel.
    """

    cluster: npt.NDArray[np.intp]
    tissue: npt.NDArray[np.intp]
    parts: Float32Array


def draw_mixture(
    rng: np.random.Generator,
    anatomy: Anatomy,
    *,
    lesions: Lesions,
    model: ReaderModel,
    spacing_mm: tuple[float, float, float],
) -> Mixture:
    """Split each tissue into clusters, and give the lesion's parts their shares.

    References
    ----------
    Zalevskyi et al. 2026 (FetalSynthSeg), MELBA, for splitting tissue classes by intensity.
    """
    label = np.argmax(np.stack([anatomy.csf, anatomy.gm, anatomy.wm]), axis=0)
    cluster = np.zeros(anatomy.shape, np.intp)
    tissue: list[int] = []
    for t in range(3):
        count = int(rng.integers(*_CLUSTERS))
        length = rng.uniform(*_CLUSTER_LENGTH_MM)
        field = smooth_field(rng, anatomy.shape, length_mm=length, spacing_mm=spacing_mm)
        bounds = np.sort(rng.uniform(-1.2, 1.2, count - 1))
        cluster = np.where(label == t, len(tissue) + np.digitize(field, bounds), cluster)
        tissue += [t] * count
    whole = model.visibility(lesions.boundary).astype(np.float32)
    core = np.clip((1 - lesions.core) / np.float32(0.15) + np.float32(0.5), 0, 1) * whole
    enhancing = core * lesions.enhancing * np.clip((lesions.necrosis - 1) / np.float32(0.15) + np.float32(0.5), 0, 1)
    parts = np.stack([whole - core, core - enhancing, enhancing]).astype(np.float32)
    return Mixture(cluster, np.array(tissue, np.intp), parts)


def with_faded_parts(mixture: Mixture, kept: Float32Array) -> Mixture:
    """The mixture with a share (X, Y, Z) of its oedema."""
    faded = mixture.parts.copy()
    faded[0] *= kept
    return replace(mixture, parts=faded)


def mixture_image(
    rng: np.random.Generator,
    mixture: Mixture,
    *,
    modality: ModalityName,
    scan: Scan,
    added: Float32Array | None = None,
) -> npt.NDArray[np.int16]:
    """One modality's image of a mixture, (X, Y, Z), int16: at least 1 where something was kept, 0 elsewhere.

    `added` is brightness, (X, Y, Z), of what is no cluster.
    """
    means = np.array([rng.uniform(*span) for span in _TISSUE[modality]])[mixture.tissue]
    means = means * np.exp(rng.normal(0, _CLUSTER_SPREAD, means.shape))
    deviations = rng.uniform(0.01, 0.06, means.shape)
    noise = rng.standard_normal(mixture.cluster.shape, dtype=np.float32)
    image = (means[mixture.cluster] + deviations[mixture.cluster] * noise).astype(np.float32)
    contrast = [np.float32(rng.uniform(*span)) for span in _LESION[modality]]
    image *= 1 + sum(share * (factor - 1) for share, factor in zip(mixture.parts, contrast, strict=True))
    if added is not None:
        image += added
    sigma = [rng.uniform(0.4, 1.0) / s if n > 1 else 0.0 for n, s in zip(image.shape, scan.spacing_mm, strict=True)]
    image = ndi.gaussian_filter(image, sigma)
    field = smooth_field(rng, image.shape, length_mm=70, spacing_mm=scan.spacing_mm)
    image *= np.exp(np.float32(rng.uniform(0.0, 0.2)) * field) * _rim(rng, scan)
    image += np.float32(rng.uniform(0.005, 0.05)) * rng.standard_normal(image.shape, dtype=np.float32)
    scale = np.exp(rng.uniform(*np.log(_SCALE)))
    counts = np.clip(np.round(image * np.float32(scale)), 1, _LARGEST)
    return np.where(scan.kept, counts, 0).astype(np.int16)


def _rim(rng: np.random.Generator, scan: Scan) -> Float32Array:
    """Factor of the outermost voxels: dark, as they are, or bright, over a width of its own."""
    outermost, width = np.float32(rng.uniform(0.0, 1.4)), np.float32(rng.uniform(0.5, 4.0))
    depth = np.clip(scan.margin_mm / width, 0, 1)
    return np.asarray(outermost + (1 - outermost) * depth, np.float32)
