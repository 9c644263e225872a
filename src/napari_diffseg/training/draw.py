"""Drawing phantoms and keeping some of their slices to train on."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_diffseg.encode import encode
from napari_diffseg.imaging.case import Case
from napari_diffseg.imaging.volume import Volume
from napari_diffseg.synthesis.phantom import Phantom, PhantomSettings, make_phantom
from napari_diffseg.training.pool import Pool

if TYPE_CHECKING:
    from napari_diffseg.recipe import Recipe
    from napari_diffseg.synthesis.settings import PhantomKind

_SHAPE = (120, 120, 39)
_SPACING_MM = (2.0, 2.0, 4.0)
_KINDS: tuple[PhantomKind, ...] = ("glioma", "glioma", "glioma", "lowgrade")
_CONTRASTS = (0.15, 0.3, 0.5, 0.8)
_SLICES = 10
_EMPTY_SHARE = 0.2


def make_pool(recipe: Recipe, *, phantoms: int, seed: int, workers: int = 1) -> Pool:
    """Draw phantoms and keep some slices of each, most of them with lesion.

    Parameters
    ----------
    recipe : Recipe
        Modalities, size, spacing and normalisation: the slices are encoded as those of a real case are.
    phantoms : int
        How many volumes to draw; each gives up to ten slices.
    seed : int
        Phantom k has the seed `seed + k`.
    workers : int
        Processes that draw at once; the pool does not depend on it.
    """
    draw = partial(_phantom_slices, recipe=recipe)
    seeds = range(seed, seed + phantoms)
    if workers == 1:
        parts = [draw(s) for s in seeds]
    else:
        with ProcessPoolExecutor(workers) as executor:
            parts = list(executor.map(draw, seeds, chunksize=4))
    return Pool(np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts]))


def phantom_case(phantom: Phantom, case_id: str) -> Case:
    """A phantom as a case, its consensus of whole-lesion labels the reference."""
    volumes: dict[str, Volume] = {
        name: Volume(data, phantom.affine, None, None, ()) for name, data in phantom.volumes.items()
    }
    reference = Volume((phantom.seg > 0).astype(np.uint8), phantom.affine, None, None, ())
    return Case(case_id, volumes, reference)


def _phantom_slices(seed: int, *, recipe: Recipe) -> tuple[npt.NDArray[np.float16], npt.NDArray[np.uint8]]:
    settings = PhantomSettings(
        kind=_KINDS[seed % len(_KINDS)],
        seed=seed,
        shape=_SHAPE,
        spacing_mm=_SPACING_MM,
        readers=4,
        randomise=_CONTRASTS[seed // len(_KINDS) % len(_CONTRASTS)],
        artefacts=0.6,
    )
    phantom = make_phantom(settings)
    coding = encode(phantom_case(phantom, str(seed)), recipe)
    masks = np.stack(
        [coding.grid.to_model(r.astype(np.float32), slices=coding.sampled) > 0.5 for r in phantom.readers], axis=1
    )
    chosen = _choose(np.asarray(masks.any(axis=(1, 2, 3))), np.random.default_rng(seed))
    return coding.image.numpy()[chosen].astype(np.float16), masks[chosen].astype(np.uint8)


def _choose(has_lesion: npt.NDArray[np.bool_], rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Up to ten slices, one in five of them without lesion."""
    with_lesion, without = np.flatnonzero(has_lesion), np.flatnonzero(~has_lesion)
    empty = min(len(without), round(_SLICES * _EMPTY_SHARE))
    full = min(len(with_lesion), _SLICES - empty)
    return np.concatenate([rng.choice(with_lesion, full, replace=False), rng.choice(without, empty, replace=False)])
