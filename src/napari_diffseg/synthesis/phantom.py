"""Make a phantom: four modalities, a reference, readers who disagree, and the exact probability of every voxel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_diffseg.synthesis.acquisition import acquire, prepare_scan
from napari_diffseg.synthesis.anatomy import make_anatomy
from napari_diffseg.synthesis.contrast import draw_contrasts
from napari_diffseg.synthesis.grid import draw_pose, place_grid
from napari_diffseg.synthesis.head import draw_head, put_head
from napari_diffseg.synthesis.lesions import grow_lesions, region_levels
from napari_diffseg.synthesis.lookalikes import draw_fading, draw_lookalikes
from napari_diffseg.synthesis.mixture import advect_lesions, draw_mixture, mixture_image, with_faded_parts
from napari_diffseg.synthesis.readers import draw_label_maps, reader_probability
from napari_diffseg.synthesis.seeds import draw_seeds
from napari_diffseg.synthesis.settings import MODALITIES, ModalityName, PhantomKind, PhantomSettings, ReaderModel
from napari_diffseg.synthesis.template import load_template
from napari_diffseg.synthesis.tissues import mix_tissues, with_faded_oedema

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_diffseg.synthesis.acquisition import Scan
    from napari_diffseg.synthesis.anatomy import Anatomy
    from napari_diffseg.synthesis.fields import Float32Array
    from napari_diffseg.synthesis.lesions import Lesions

__all__ = ["MODALITIES", "ModalityName", "Phantom", "PhantomKind", "PhantomSettings", "ReaderModel", "make_phantom"]

_AMBIGUITY = (0.25, 0.9)
_WHITE = 0.7
"""Share of white matter from which on a voxel tells how bright it is."""


@dataclass(frozen=True, slots=True, eq=False)
class Phantom:
    """A synthetic patient. Arrays are (X, Y, Z) in LPS order, as in BraTS; background is 0.

    Attributes
    ----------
    volumes : dict
        int16 image by modality: t1, t1ce, t2, flair.
    seg : ndarray, uint8
        0 nothing, 1 necrosis and non-enhancing core, 2 oedema (or sclerosis), 4 enhancing: what half of the
        readers mark.
    reader_labels : ndarray, (R, X, Y, Z), uint8
        Label maps of the readers, as `seg`, drawn independently.
    probability : ndarray, float32
        P(a reader marks the voxel as any lesion), exact: what an ensemble of infinitely many readers would show.
    affine : ndarray, (4, 4), float64
        Voxel index to RAS+ mm.
    settings : PhantomSettings
        What it was made from.
    reader_model : ReaderModel
        The distribution of its readers, at its own ambiguity.
    """

    volumes: dict[ModalityName, npt.NDArray[np.int16]]
    seg: npt.NDArray[np.uint8]
    reader_labels: npt.NDArray[np.uint8]
    probability: Float32Array
    affine: npt.NDArray[np.float64]
    settings: PhantomSettings
    reader_model: ReaderModel

    @property
    def readers(self) -> npt.NDArray[np.uint8]:
        """The readers' masks of the whole lesion, (R, X, Y, Z), uint8 of 0 and 1."""
        return (self.reader_labels > 0).astype(np.uint8)


def make_phantom(settings: PhantomSettings) -> Phantom:
    """The phantom of these settings; the same bytes every time.

    Patient, contrast, readers and each modality's scan have random streams of their own, so that changing the number
    of readers, or the artefacts, leaves the patient as it is.
    """
    streams = [np.random.Generator(np.random.PCG64(s)) for s in np.random.SeedSequence(settings.seed).spawn(14)]
    head, place, tissue, growth, mixing, contrast, reading, *scanning, around, unusual = streams
    seeds = draw_seeds(head, settings.kind, load_template())
    pose = draw_pose(head)
    ambiguity = float(head.uniform(*_AMBIGUITY)) if settings.ambiguity is None else settings.ambiguity
    model = settings.reader_model.scaled(ambiguity)
    grid = place_grid(settings, place, pose=pose, seeds=seeds)
    is_tumour = settings.kind in ("glioma", "lowgrade")
    anatomy = make_anatomy(tissue, grid, pose=pose, tumour=seeds[0] if is_tumour else None)
    spacing = settings.spacing_mm
    grow = advect_lesions if settings.family == "mixture" else grow_lesions
    lesions = grow(growth, seeds, anatomy=anatomy, kind=settings.kind, spacing_mm=spacing)
    scan = prepare_scan(scanning[0], anatomy, spacing_mm=spacing, artefacts=settings.artefacts)
    # What the stripping took away no reader can mark.
    boundary = np.where(scan.kept, lesions.boundary, np.float32(np.inf))
    levels = region_levels(lesions, boundary, median=model.median)
    extra = _draw_extra(unusual, settings, anatomy, lesions=lesions, model=model)
    if settings.family == "mixture":
        images = _mixture_images(mixing, scanning[1:], anatomy, lesions, scan, extra, model=model)
    else:
        means = draw_contrasts(contrast, settings)
        fractions = mix_tissues(mixing, anatomy, lesions=lesions, model=model, kind=settings.kind, spacing_mm=spacing)
        images = _grown_images(scanning[1:], fractions, anatomy, scan, extra, means=means)
    volumes = {m: grid.embed(image) for m, image in images.items()}
    if settings.scalp:
        volumes = _with_scalp(
            around, volumes, kept=grid.embed(scan.kept), white=grid.embed(anatomy.wm > _WHITE), spacing_mm=spacing
        )
    return Phantom(
        volumes=volumes,
        seg=grid.embed(_reference(lesions, boundary, model=model)),
        reader_labels=grid.embed(draw_label_maps(reading, levels, model=model, count=settings.readers)),
        probability=grid.embed(reader_probability(boundary, model)),
        affine=grid.affine,
        settings=settings,
        reader_model=model,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Extra:
    """What a modality shows besides tissue (X, Y, Z), and the share of the oedema (X, Y, Z) that it shows."""

    added: dict[ModalityName, Float32Array]
    kept: dict[ModalityName, Float32Array]


def _draw_extra(
    rng: np.random.Generator, settings: PhantomSettings, anatomy: Anatomy, *, lesions: Lesions, model: ReaderModel
) -> _Extra:
    """Look-alikes and faint oedema, where the settings ask for them."""
    for_fading, for_lookalikes = rng.spawn(2)
    added, kept = {}, {}
    if settings.faint:
        kept = draw_fading(for_fading, lesions.boundary, spacing_mm=settings.spacing_mm, amount=settings.faint)
    if settings.lookalikes:
        lesion = model.visibility(lesions.boundary).astype(np.float32)
        amount, spacing = settings.lookalikes, settings.spacing_mm
        added = draw_lookalikes(for_lookalikes, anatomy, lesion=lesion, spacing_mm=spacing, amount=amount)
    return _Extra(added, kept)


def _grown_images(
    scanning: Sequence[np.random.Generator],
    fractions: Float32Array,
    anatomy: Anatomy,
    scan: Scan,
    extra: _Extra,
    *,
    means: Mapping[ModalityName, Float32Array],
) -> dict[ModalityName, npt.NDArray[np.int16]]:
    images = {}
    for m, rng in zip(MODALITIES, scanning, strict=True):
        mine = with_faded_oedema(fractions, anatomy, extra.kept[m]) if extra.kept else fractions
        images[m] = acquire(rng, mine, means=means[m], modality=m, scan=scan, added=extra.added.get(m))
    return images


def _mixture_images(
    mixing: np.random.Generator,
    scanning: Sequence[np.random.Generator],
    anatomy: Anatomy,
    lesions: Lesions,
    scan: Scan,
    extra: _Extra,
    *,
    model: ReaderModel,
) -> dict[ModalityName, npt.NDArray[np.int16]]:
    mixture = draw_mixture(mixing, anatomy, lesions=lesions, model=model, spacing_mm=scan.spacing_mm)
    images = {}
    for m, rng in zip(MODALITIES, scanning, strict=True):
        mine = with_faded_parts(mixture, extra.kept[m]) if extra.kept else mixture
        images[m] = mixture_image(rng, mine, modality=m, scan=scan, added=extra.added.get(m))
    return images


def _with_scalp(
    rng: np.random.Generator,
    volumes: dict[ModalityName, npt.NDArray[np.int16]],
    *,
    kept: npt.NDArray[np.bool_],
    white: npt.NDArray[np.bool_],
    spacing_mm: tuple[float, float, float],
) -> dict[ModalityName, npt.NDArray[np.int16]]:
    """The volumes with the head around the brain."""
    head = draw_head(rng, kept, spacing_mm=spacing_mm)
    out = {}
    for modality, image in volumes.items():
        level = image[white & (image > 0)] if (white & (image > 0)).any() else image[image > 0]
        bright = float(np.median(level)) if level.size else 100.0
        out[modality] = put_head(rng, image, head, modality=modality, white=bright, spacing_mm=spacing_mm)
    return out


def _reference(lesions: Lesions, boundary: Float32Array, *, model: ReaderModel) -> npt.NDArray[np.uint8]:
    """BraTS labels of the reader in the middle: half mark more."""
    whole = boundary < model.median
    seg = np.where(whole, 2, 0).astype(np.uint8)
    seg[whole & lesions.in_core] = 1
    seg[whole & lesions.in_enhancing] = 4
    return seg
